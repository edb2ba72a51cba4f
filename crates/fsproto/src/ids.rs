//! Which of a gofer's mounts is which: names that are the same in every run of a bundle, and how those of a container find those that its gofer serves.
//!
//! A gofer's order, descriptors and handles are of one run. What outlives it (a saved sandbox that is to find its files again) goes by these names alone; a fresh container
//! pairs its own the same way, so the matching is never a special case. Pure; no locks.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of one mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MountId {
    /// The container, by the name that it was created with.
    pub container: String,
    pub part: Part,
}

/// What of the container it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    Root,
    /// A mount of config.json by its destination; `nth`, from 0 on, tells those apart that lie on top of each other.
    Mount {
        destination: String,
        nth: u32,
    },
    /// A volume of the pod by the name of its hint.
    Volume(String),
}

/// Why two lists of names do not belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The container has it, the gofer does not.
    pub missing: Vec<MountId>,
    /// The gofer has it, the container does not.
    pub surplus: Vec<MountId>,
    /// It is there more than once, on either side.
    pub doubled: Vec<MountId>,
}

impl MountId {
    pub fn new(container: &str, part: Part) -> MountId {
        MountId { container: container.to_string(), part }
    }
}

impl Part {
    /// The mount at `destination`, behind those that have their names already.
    pub fn mount<'a>(destination: &str, before: impl IntoIterator<Item = &'a MountId>) -> Part {
        let same = |id: &&MountId| matches!(&id.part, Part::Mount { destination: other, .. } if other == destination);
        let nth = before.into_iter().filter(same).count().try_into().unwrap_or(u32::MAX);
        Part::Mount { destination: destination.to_string(), nth }
    }
}

/// For each of the container's names the place of the same one in the gofer's list. All must have a partner, on both sides.
pub fn pair(wanted: &[MountId], served: &[&MountId]) -> Result<Vec<usize>, Mismatch> {
    // By name, so that as many as a hostile peer can name take no time.
    let mut places: Vec<(&MountId, usize)> = served.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut sorted: Vec<&MountId> = wanted.iter().collect();
    places.sort_unstable();
    sorted.sort_unstable();
    let mut mismatch = Mismatch::default();
    let twice = |ids: &[&MountId]| ids.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0].clone()).collect();
    let names: Vec<&MountId> = places.iter().map(|(id, _)| *id).collect();
    let (ours, theirs): (Vec<MountId>, Vec<MountId>) = (twice(&sorted), twice(&names));
    mismatch.doubled.extend(ours.into_iter().chain(theirs));
    mismatch.doubled.sort_unstable();
    mismatch.doubled.dedup();
    mismatch.surplus.extend(names.iter().filter(|id| sorted.binary_search(id).is_err()).map(|id| (*id).clone()));
    mismatch.surplus.dedup();
    let mut found = Vec::with_capacity(wanted.len());
    for id in wanted {
        match places.binary_search_by(|(other, _)| (*other).cmp(id)).ok().and_then(|at| places.get(at)) {
            Some((_, at)) => found.push(*at),
            None => mismatch.missing.push(id.clone()),
        }
    }
    if mismatch == Mismatch::default() { Ok(found) } else { Err(mismatch) }
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Root => f.write_str("the root"),
            Part::Mount { destination, nth: 0 } => write!(f, "mount {destination:?}"),
            Part::Mount { destination, nth } => write!(f, "mount {destination:?} (number {} there)", nth + 1),
            Part::Volume(name) => write!(f, "volume {name:?}"),
        }?;
        write!(f, " of container {:?}", self.container)
    }
}

/// So many are named; more are counted.
const NAMED: usize = 4;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the gofer's mounts are not the container's")?;
        for (what, ids) in [("missing", &self.missing), ("surplus", &self.surplus), ("doubled", &self.doubled)] {
            for (at, id) in ids.iter().take(NAMED).enumerate() {
                if at == 0 { write!(f, "; {what}: {id}") } else { write!(f, ", {id}") }?;
            }
            if ids.len() > NAMED {
                write!(f, " and {} more", ids.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn ids(parts: &[&str]) -> Vec<MountId> {
        let mut ids: Vec<MountId> = Vec::new();
        for part in parts {
            let part = match part.strip_prefix("volume ") {
                _ if *part == "root" => Part::Root,
                Some(name) => Part::Volume(name.into()),
                None => Part::mount(part, &ids),
            };
            ids.push(MountId::new("web", part));
        }
        ids
    }

    fn paired(wanted: &[MountId], served: &[MountId]) -> Result<Vec<usize>, String> {
        pair(wanted, &served.iter().collect::<Vec<_>>()).map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn each_name_finds_its_own_whatever_the_order() {
        let saved = ids(&["root", "/data", "/data", "/b", "volume data"]);
        assert_eq!(paired(&saved, &saved), Ok(vec![0, 1, 2, 3, 4]));
        let mut other = ids(&["volume data", "/b", "/data", "/data", "root"]);
        assert_eq!(paired(&saved, &other), Ok(vec![4, 2, 3, 1, 0]));
        // The second of two mounts on one place is still the second.
        other.swap(2, 3);
        assert_eq!(paired(&saved, &other), Ok(vec![4, 3, 2, 1, 0]));
        assert_eq!(paired(&[], &[]), Ok(vec![]));
    }

    #[test]
    fn what_does_not_fit_is_named_in_one_line() {
        let saved = ids(&["root", "/data", "/data"]);
        let start = "the gofer's mounts are not the container's; ";
        let second = "mount \"/data\" (number 2 there) of container \"web\"";
        assert_eq!(paired(&saved, &saved[..2]), Err(format!("{start}missing: {second}")));
        assert_eq!(paired(&saved[..2], &saved), Err(format!("{start}surplus: {second}")));
        let root = "the root of container \"web\"";
        assert_eq!(paired(&saved, &[&saved[..], &saved[..1]].concat()), Err(format!("{start}doubled: {root}")));
        let other = [MountId::new("db", Part::Root), MountId::new("x\ny", Part::Volume("a".into()))];
        assert_eq!(
            paired(&saved[..1], &other),
            Err(format!(
                "{start}missing: {root}; surplus: the root of container \"db\", volume \"a\" of container \"x\\ny\""
            ))
        );
        let many: Vec<String> = (0..50_000).map(|n| format!("/{n}")).collect();
        let many: Vec<MountId> =
            many.into_iter().map(|destination| MountId::new("web", Part::Mount { destination, nth: 0 })).collect();
        assert!(paired(&many, &[]).unwrap_err().ends_with(" and 49996 more"));
    }
}

//! The crates' tiers: "leaf <- machine <- kernel <- modules <- processes; modules never meet". The table below is the
//! whole truth: an edge that is not in it is an error, and so is a crate that is not.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A crate of the workspace and the workspace crates it depends on, development dependencies included.
pub type Edges = BTreeMap<String, Vec<String>>;

/// Each crate, lowest first, with the crates it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    // leaf
    ("abi", &[]),
    ("lock", &[]),
    ("state-derive", &[]),
    ("state", &["state-derive"]),
    ("observe", &[]),
    // machine
    ("host", &["abi", "lock", "observe"]),
    ("platform", &["abi", "lock", "observe", "host"]),
    ("fsproto", &["abi", "observe", "host"]),
    // core
    ("kernel", &["abi", "lock", "state", "observe", "host", "platform", "fsproto"]),
    // modules: they never meet
    ("syscalls", &["abi", "lock", "state", "observe", "host", "platform", "kernel"]),
    ("filesystems", &["abi", "lock", "state", "observe", "host", "platform", "fsproto", "kernel"]),
    ("network", &["abi", "lock", "state", "observe", "host", "kernel"]),
    ("devices", &["abi", "lock", "state", "observe", "host", "platform", "kernel"]),
    // processes
    (
        "sandbox",
        &[
            "abi",
            "lock",
            "state",
            "observe",
            "host",
            "platform",
            "fsproto",
            "kernel",
            "syscalls",
            "filesystems",
            "network",
            "devices",
        ],
    ),
    // The last two are for its tests, which run the kernel's file system over a real gofer.
    ("gofer", &["abi", "lock", "observe", "host", "fsproto", "kernel", "filesystems"]),
    ("runtime", &["abi", "observe", "host", "fsproto", "sandbox", "gofer"]),
    ("shim", &["abi", "observe", "host"]),
    // tooling: depends on nothing that it checks
    ("guest-tests", &[]),
    ("xtask", &["guest-tests"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<String>,
}

/// Reads `cargo metadata --no-deps`; dependencies by path are the workspace's own crates.
pub fn parse(metadata: &str) -> Result<Edges> {
    let metadata: Metadata = serde_json::from_str(metadata).context("cannot read cargo's metadata")?;
    let own = |package: Package| {
        let to = package.dependencies.into_iter().filter(|d| d.path.is_some()).map(|d| d.name).collect();
        (package.name, to)
    };
    Ok(metadata.packages.into_iter().map(own).collect())
}

pub fn check(edges: &Edges) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, targets) in edges {
        let Some((_, allowed)) = ALLOWED.iter().find(|row| row.0 == from) else {
            wrong.push(format!(
                "crate `{from}` has no place in the tiers: add it to xtask/src/arch/tiers.rs and ARCHITECTURE.md"
            ));
            continue;
        };
        for to in targets.iter().filter(|to| !allowed.contains(&to.as_str())) {
            wrong.push(format!(
                "crate `{from}` must not depend on `{to}`: tiers go leaf, machine, kernel, modules, processes"
            ));
        }
    }
    wrong
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &[&str])]) -> Edges {
        pairs.iter().map(|(from, to)| ((*from).into(), to.iter().map(|name| (*name).into()).collect())).collect()
    }

    #[test]
    fn downward_edges_pass() {
        assert!(check(&edges(&[("kernel", &["abi", "platform"]), ("sandbox", &["kernel", "syscalls"])])).is_empty());
    }

    #[test]
    fn upward_edges_sideways_edges_and_strangers_fail() {
        assert_eq!(check(&edges(&[("abi", &["kernel"])])).len(), 1);
        assert_eq!(check(&edges(&[("network", &["filesystems"])])).len(), 1);
        assert_eq!(check(&edges(&[("syscalls", &["fsproto"])])).len(), 1);
        assert_eq!(check(&edges(&[("surprise", &[])])).len(), 1);
    }

    #[test]
    fn the_table_itself_goes_downwards() {
        for (place, (name, allowed)) in ALLOWED.iter().enumerate() {
            for to in *allowed {
                let below = ALLOWED.iter().position(|row| row.0 == *to).expect("a crate of the table");
                assert!(below < place, "{name} -> {to}");
            }
        }
    }

    #[test]
    fn metadata_is_read() {
        let text =
            r#"{"packages":[{"name":"host","dependencies":[{"name":"abi","path":"/x"},{"name":"libc","path":null}]}]}"#;
        assert_eq!(parse(text).unwrap(), edges(&[("host", &["abi"])]));
    }
}

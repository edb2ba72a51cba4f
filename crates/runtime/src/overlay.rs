//! `--overlay2`: where changes of a container's root and bind mounts go, and how much of them.
//!
//! Also by the annotation `dev.stockade.spec.rootfs.overlay` (or gVisor's name for it) of config.json, for the root alone. Neighbours: `config` and
//! `commands::do_` apply it. Owns no locks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use sandbox::spec::Overlay;

use crate::config::plain;

/// What the values are, for messages.
const VALUES: &str =
    "none, or root: or all: with memory, self or dir=/path, and size=N if wanted (such as root:memory,size=1g)";
/// By which config.json chooses for its root.
const ANNOTATIONS: [&str; 2] = ["dev.stockade.spec.rootfs.overlay", "dev.gvisor.spec.rootfs.overlay"];

/// The whole of a container's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub root: Medium,
    pub mounts: Medium,
    /// Bytes for each.
    pub size: Option<u64>,
}

/// Where changes go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// To the host's files themselves.
    #[default]
    None,
    Memory,
    /// To nameless files in the very folder.
    Own,
    /// To nameless files in this one.
    Dir(PathBuf),
}

/// What becomes of one mount.
pub struct Plan {
    pub overlay: Overlay,
    /// Where the gofer makes the files.
    pub store: Option<PathBuf>,
    pub warning: Option<String>,
}

impl Choice {
    /// In memory, for the root alone.
    pub fn memory() -> Choice {
        Choice { root: Medium::Memory, ..Choice::default() }
    }

    /// With what config.json says of its root.
    pub fn annotated(mut self, annotations: &HashMap<String, String>) -> Result<Choice> {
        let Some((name, value)) = ANNOTATIONS.iter().find_map(|name| annotations.get_key_value(*name)) else {
            return Ok(self);
        };
        let choice = match value.as_str() {
            "none" => Choice::default(),
            value => match parse(&format!("root:{value}")) {
                Ok(Choice { root: Medium::Dir(dir), .. }) => {
                    bail!("annotation {name}: {}: only --overlay2 may name a folder of the host", dir.display())
                }
                Ok(choice) => choice,
                Err(why) => {
                    bail!("annotation {name}: {value:?}: {why}; give none, memory or self, and size=N if wanted")
                }
            },
        };
        self.root = choice.root;
        self.size = choice.size.or(self.size);
        Ok(self)
    }

    /// `shared`: others change the files.
    pub fn root(&self, source: &Path, readonly: bool, shared: bool) -> Result<Plan> {
        let plan = self.plan(&self.root, source, readonly)?;
        refuse_both(&plan, shared, "--file-access=shared", source)?;
        Ok(plan)
    }

    pub fn mount(&self, source: &Path, readonly: bool, shared: bool) -> Result<Plan> {
        let plan = self.plan(&self.mounts, source, readonly)?;
        refuse_both(&plan, shared, "--file-access-mounts=shared", source)?;
        Ok(plan)
    }

    /// What is read-only gets none.
    fn plan(&self, medium: &Medium, source: &Path, readonly: bool) -> Result<Plan> {
        let size = self.size;
        let memory = |warning| Plan { overlay: Overlay::Memory { size }, store: None, warning };
        let disk = |dir: &Path| Plan { overlay: Overlay::Disk { size }, store: Some(dir.to_owned()), warning: None };
        Ok(match medium {
            _ if readonly => Plan { overlay: Overlay::None, store: None, warning: None },
            Medium::None => Plan { overlay: Overlay::None, store: None, warning: None },
            Medium::Memory => memory(None),
            Medium::Own if source.is_dir() => disk(source),
            Medium::Own => memory(Some(format!(
                "--overlay2: self: {} is no folder; changes to it are kept in memory",
                source.display()
            ))),
            Medium::Dir(dir) => match std::fs::canonicalize(dir) {
                Ok(real) if real.is_dir() => disk(&real),
                Ok(_) => bail!("--overlay2: dir={}: is no folder", dir.display()),
                Err(e) => bail!("--overlay2: dir={}: {}; make the folder first", dir.display(), plain(&e)),
            },
        })
    }
}

/// Below an overlay nothing may change.
fn refuse_both(plan: &Plan, shared: bool, flag: &str, source: &Path) -> Result<()> {
    if shared && plan.overlay != Overlay::None {
        bail!(
            "--overlay2 and {flag} do not go together, for {}: below an overlay nobody may change files; leave one of them out",
            source.display()
        );
    }
    Ok(())
}

impl FromStr for Choice {
    type Err = String;
    fn from_str(text: &str) -> Result<Choice, String> {
        parse(text).map_err(|why| format!("{why}; give {VALUES}"))
    }
}

fn parse(text: &str) -> Result<Choice, String> {
    if text == "none" {
        return Ok(Choice::default());
    }
    let (whose, rest) = text.split_once(':').ok_or("no root: or all: in front")?;
    let (medium, size) = match rest.rsplit_once(",size=") {
        Some((medium, size)) => (medium, Some(bytes(size)?)),
        None => (rest, None),
    };
    let medium = match medium {
        "memory" => Medium::Memory,
        "self" => Medium::Own,
        other => match other.strip_prefix("dir=") {
            Some(dir) if dir.starts_with('/') => Medium::Dir(dir.into()),
            Some(dir) => return Err(format!("dir={dir} is no absolute path")),
            None => return Err(format!("no medium {other:?}")),
        },
    };
    let mounts = match whose {
        "root" => Medium::None,
        "all" => medium.clone(),
        other => return Err(format!("no mounts {other:?}")),
    };
    Ok(Choice { root: medium, mounts, size })
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = crate::bytes::parse(text).ok_or(format!("size={text} is no number of bytes"))?;
    if bytes < 4096 { Err(format!("size={text} is no number of bytes of at least 4096")) } else { Ok(bytes) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let of = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(of("none"), Choice::default());
        assert_eq!(of("root:memory"), Choice::memory());
        let all = of("all:self,size=2m");
        assert_eq!((all.root, all.mounts, all.size), (Medium::Own, Medium::Own, Some(2 << 20)));
        let dir = of("root:dir=/a,b:c,size=8192");
        assert_eq!((dir.root, dir.mounts, dir.size), (Medium::Dir("/a,b:c".into()), Medium::None, Some(8192)));
    }

    #[test]
    fn bad_values_are_named() {
        for (text, word) in [
            ("memory", "no root: or all:"),
            ("some:memory", "no mounts \"some\""),
            ("root:disk", "no medium \"disk\""),
            ("root:dir=x", "dir=x is no absolute path"),
            ("root:memory,size=1x", "size=1x is no number"),
            ("root:memory,size=1", "at least 4096"),
            ("root:memory,size=99999999999t", "size=99999999999t"),
        ] {
            let error = text.parse::<Choice>().unwrap_err();
            assert!(error.contains(word) && error.contains("root:memory,size=1g"), "{text}: {error}");
        }
    }

    #[test]
    fn an_annotation_goes_before_the_flag_but_names_no_folder() {
        let with = |value: &str| {
            let list = HashMap::from([(ANNOTATIONS[0].to_string(), value.to_string())]);
            "all:memory".parse::<Choice>().unwrap().annotated(&list)
        };
        let own = with("self,size=1m").unwrap();
        assert_eq!((own.root, own.mounts, own.size), (Medium::Own, Medium::Memory, Some(1 << 20)));
        assert_eq!(with("none").unwrap().root, Medium::None);
        for (value, word) in [("dir=/tmp", "only --overlay2"), ("what", "no medium \"what\"")] {
            let error = with(value).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(ANNOTATIONS[0]), "{error}");
        }
    }
}

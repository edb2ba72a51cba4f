//! Mount hints: annotations of a pod's first container that say how containers share a volume, as Kubernetes' users write them for gVisor (docs/cli.md, "Volumes of a pod").
//!
//! `dev.stockade.spec.mount.NAME.{source,type,share,options}`; gVisor's prefix counts where ours does not say it. Neighbours: `config` (applies them). Owns no locks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::config::plain;

const PREFIXES: [&str; 2] = ["dev.gvisor.spec.mount.", "dev.stockade.spec.mount."];
const FIELDS: [&str; 4] = ["source", "type", "share", "options"];
/// Where containerd says which pod it is: `.../NAMESPACE_NAME_UID`.
const LOGS: &str = "io.kubernetes.cri.sandbox-log-directory";

/// Who uses a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One container.
    Container,
    /// Containers of this pod, nobody else.
    Pod,
    /// The host's processes, too.
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tmpfs,
    Bind,
}

/// What is known of one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub name: String,
    /// As mounts of config.json name it.
    pub source: String,
    pub kind: Kind,
    pub share: Share,
    pub options: Vec<String>,
}

/// All hints of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints(pub Vec<Hint>);

/// A field's annotation and value.
type Field<'a> = (&'a str, &'a str);

impl Hints {
    /// `volumes`: where kubelet keeps the volumes of pods, /var/lib/kubelet/pods.
    pub fn read(annotations: &BTreeMap<String, String>, volumes: &Path) -> Result<Hints> {
        let mut found: BTreeMap<&str, BTreeMap<&str, Field<'_>>> = BTreeMap::new();
        for prefix in PREFIXES {
            for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(prefix)) {
                let rest = key.strip_prefix(prefix).unwrap_or_default();
                let Some((name, field)) = rest.split_once('.').filter(|(name, _)| !name.is_empty()) else {
                    bail!("annotation {key}: a mount hint is {prefix}NAME.FIELD");
                };
                if !FIELDS.contains(&field) {
                    bail!("annotation {key}: a mount hint has the fields {}", FIELDS.join(", "));
                }
                found.entry(name).or_default().insert(field, (key, value));
            }
        }
        let mut hints: Vec<Hint> = Vec::new();
        for (name, fields) in found {
            let hint = hint(name, &fields, annotations, volumes)?;
            if let Some(other) = hints.iter().find(|other| other.source == hint.source) {
                bail!(
                    "mount hints {} and {name} have the same source, {}: one volume has one hint",
                    other.name,
                    hint.source
                );
            }
            hints.push(hint);
        }
        Ok(Hints(hints))
    }

    /// Of the volume that a mount of config.json has for its source.
    pub fn of(&self, source: &str) -> Option<&Hint> {
        self.0.iter().find(|hint| hint.source == source)
    }
}

impl Hint {
    /// One file system of the sandbox stands for it, wherever it is mounted.
    pub fn is_volume(&self) -> bool {
        self.kind == Kind::Tmpfs || self.share == Share::Pod
    }
}

fn hint(
    name: &str,
    fields: &BTreeMap<&str, Field<'_>>,
    annotations: &BTreeMap<String, String>,
    volumes: &Path,
) -> Result<Hint> {
    let of = |field: &str| fields.get(field).copied();
    let missing = |field: &str, what: &str| {
        anyhow::anyhow!("annotation {}{name}.{field} is missing: it says {what}", PREFIXES[1])
    };
    let kind = match of("type").ok_or_else(|| missing("type", "what the volume is, tmpfs or bind"))? {
        (_, "tmpfs") => Kind::Tmpfs,
        (_, "bind") => Kind::Bind,
        (key, other) => bail!("annotation {key}: {other:?} is neither tmpfs nor bind"),
    };
    let share = match of("share").ok_or_else(|| missing("share", "who uses the volume: container, pod or shared"))? {
        (_, "container") => Share::Container,
        (_, "pod") => Share::Pod,
        (key, "shared") if kind == Kind::Tmpfs => {
            bail!(
                "annotation {key}: a tmpfs is the sandbox' own, and cannot be shared with others; say pod or container, or type bind"
            )
        }
        (_, "shared") => Share::Shared,
        (key, other) => bail!("annotation {key}: {other:?} is none of container, pod, shared"),
    };
    let source = match of("source") {
        Some((_, source)) if source.starts_with('/') => source.to_string(),
        Some((key, other)) => bail!("annotation {key}: {other:?} must be an absolute path, the source of mounts"),
        None => match annotations.get(LOGS).and_then(|logs| logs.rsplit_once('_')) {
            Some((_, pod)) => kubelets(&volumes.join(pod).join("volumes"), name)?,
            None => return Err(missing("source", "which mounts are meant")),
        },
    };
    let options = of("options").map_or("", |(_, options)| options);
    let options: Vec<String> = options.split(',').filter(|o| !o.is_empty()).map(str::to_string).collect();
    if let Some(wrong) = options.iter().find(|o| o.matches('=').count() > 1 || o.starts_with('=')) {
        let key = of("options").map_or("", |(key, _)| key);
        bail!("annotation {key}: invalid option {wrong:?}: it is neither a word nor key=value");
    }
    Ok(Hint { name: name.to_string(), source, kind, share, options })
}

/// The folder of kubelet's that is a pod's volume of this name, whatever kind of volume it is.
fn kubelets(volumes: &Path, name: &str) -> Result<String> {
    let wrong = |why: String| {
        anyhow::anyhow!("annotation {}{name}.source is missing, and {} {why}", PREFIXES[1], volumes.display())
    };
    let kinds = std::fs::read_dir(volumes).map_err(|e| wrong(format!("cannot be read: {}", plain(&e))))?;
    let mut found: Vec<PathBuf> = kinds.flatten().map(|kind| kind.path().join(name)).collect();
    found.retain(|path| path.exists());
    match found.as_slice() {
        [one] => Ok(one.display().to_string()),
        [] => Err(wrong(format!("has no volume {name}"))),
        _ => Err(wrong(format!("has several volumes {name}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Hints> {
        let list: BTreeMap<String, String> = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Hints::read(&list, Path::new("/no/kubelet"))
    }

    #[test]
    fn both_prefixes_add_up_and_ours_wins() {
        let hints = read(&[
            ("dev.gvisor.spec.mount.data.source", "/v/data"),
            ("dev.gvisor.spec.mount.data.type", "bind"),
            ("dev.gvisor.spec.mount.data.share", "shared"),
            ("dev.gvisor.spec.mount.data.options", "ro,size=1m,"),
            ("dev.stockade.spec.mount.data.share", "pod"),
            ("dev.gvisor.spec.rootfs.type", "erofs"),
            ("other", "x"),
        ]);
        let hints = hints.unwrap();
        let options = vec!["ro".to_string(), "size=1m".to_string()];
        let (name, source) = ("data".to_string(), "/v/data".to_string());
        assert_eq!(hints.0, [Hint { name, source, kind: Kind::Bind, share: Share::Pod, options }]);
        assert!(hints.of("/v/data").is_some() && hints.of("/v/data/").is_none());
        assert_eq!(read(&[]).unwrap(), Hints::default());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let whole = [("source", "/v"), ("type", "tmpfs"), ("share", "pod"), ("options", "rw")];
        let with = |field: &str, value: Option<&str>| {
            let fields = whole.iter().map(|(k, v)| (*k, if *k == field { value } else { Some(*v) }));
            let named: Vec<(String, &str)> =
                fields.filter_map(|(k, v)| Some((format!("dev.gvisor.spec.mount.data.{k}"), v?))).collect();
            read(&named.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>())
        };
        assert!(with("", None).is_ok() && with("options", None).is_ok());
        for (field, value, words) in [
            ("source", None, "data.source is missing"),
            ("type", None, "data.type is missing"),
            ("share", None, "data.share is missing"),
            ("source", Some("v"), "data.source: \"v\" must be an absolute path"),
            ("type", Some("nfs"), "data.type: \"nfs\" is neither tmpfs nor bind"),
            ("share", Some("all"), "data.share: \"all\" is none of container, pod, shared"),
            ("share", Some("shared"), "data.share: a tmpfs is the sandbox' own"),
            ("options", Some("ro,a=b=c"), "data.options: invalid option \"a=b=c\""),
        ] {
            let text = with(field, value).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
        for key in ["data", ".type", "data.kind", "data.type.more"] {
            let key = format!("dev.stockade.spec.mount.{key}");
            let text = read(&[(&key, "x")]).unwrap_err().to_string();
            assert!(text.contains(&key), "{text}");
        }
        let twice =
            ["a", "b"].map(|name| whole.map(|(field, value)| (format!("dev.gvisor.spec.mount.{name}.{field}"), value)));
        let twice: Vec<_> = twice.iter().flatten().map(|(k, v)| (k.as_str(), *v)).collect();
        assert!(read(&twice).unwrap_err().to_string().contains("a and b have the same source, /v"));
    }

    proptest! {
        #[test]
        fn any_annotations_are_hints_or_refused_in_a_line(
            pairs in proptest::collection::vec((0..2usize, "[a-c.]{0,3}|d a|\\PC{0,8}", 0..5usize, 0..9usize), 0..12)
        ) {
            let fields = ["source", "type", "share", "options", "other"];
            let values = ["tmpfs", "bind", "pod", "container", "shared", "/v", "v\n\0", "ro,=,a=b=c", ""];
            let list: BTreeMap<String, String> = pairs
                .into_iter()
                .map(|(prefix, name, field, value)| {
                    (format!("{}{name}.{}", PREFIXES[prefix], fields[field]), values[value].to_string())
                })
                .collect();
            match Hints::read(&list, Path::new("/no/kubelet")) {
                Ok(hints) => {
                    for hint in &hints.0 {
                        prop_assert!(hint.source.starts_with('/') && hints.of(&hint.source) == Some(hint));
                        prop_assert!(!(hint.kind == Kind::Tmpfs && hint.share == Share::Shared));
                    }
                }
                Err(error) => prop_assert!(!error.to_string().contains(['\n', '\0']), "{:?}", error.to_string()),
            }
        }
    }

    #[test]
    fn a_volume_of_kubelets_is_found_by_its_name() {
        let dir = std::env::temp_dir().join(format!("stockade-hints-{}", std::process::id()));
        let place = dir.join("uid-1/volumes/kubernetes.io~empty-dir/data");
        std::fs::create_dir_all(&place).unwrap();
        let annotations = |log: &str, name: &str| {
            let fields = [("type", "tmpfs"), ("share", "pod")];
            let mut list: BTreeMap<String, String> =
                fields.iter().map(|(k, v)| (format!("dev.gvisor.spec.mount.{name}.{k}"), v.to_string())).collect();
            list.insert(LOGS.into(), log.into());
            list
        };
        let found = Hints::read(&annotations("/var/log/pods/default_web_uid-1", "data"), &dir);
        let missing = Hints::read(&annotations("/var/log/pods/default_web_uid-1", "other"), &dir);
        let nowhere = Hints::read(&annotations("/var/log/pods/default_web_uid-2", "data"), &dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found.unwrap().0[0].source, place.display().to_string());
        assert!(missing.unwrap_err().to_string().contains("has no volume other"));
        assert!(nowhere.unwrap_err().to_string().contains("uid-2/volumes cannot be read"));
    }
}

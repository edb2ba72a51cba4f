//! erofs images as roots of containers: the annotations of config.json that name one, and `do --rootfs FILE`. Owns no locks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::config::plain;

/// By which config.json names its root's image; the second is gVisor's.
const PREFIXES: [&str; 2] = ["dev.stockade.spec.rootfs.", "dev.gvisor.spec.rootfs."];

/// The image that is the container's root, if its annotations name one. root.path is a mere place then.
pub fn of_root(annotations: &HashMap<String, String>) -> Result<Option<PathBuf>> {
    let of = |key: &str| {
        PREFIXES.iter().find_map(|prefix| {
            let name = format!("{prefix}{key}");
            annotations.get(&name).map(|value| (name, value.as_str()))
        })
    };
    let (name, path) = match (of("type"), of("source")) {
        (None, None) => return Ok(None),
        (Some((_, "erofs")), Some(source)) => source,
        (Some((_, "erofs")), None) => bail!("annotation {}source is missing: it names the image", PREFIXES[0]),
        (None, Some((name, _))) => bail!("annotation {name}: {}type=erofs is missing", PREFIXES[0]),
        (Some((name, other)), _) => bail!("annotation {name}: {other:?}: only erofs is known"),
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        bail!("annotation {name}: {} must be an absolute path", path.display());
    }
    match std::fs::canonicalize(path) {
        Ok(real) if real.is_file() => Ok(Some(real)),
        Ok(real) => bail!("annotation {name}: {} is no regular file", real.display()),
        Err(e) => bail!("annotation {name}: {}: {}", path.display(), plain(&e)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let of = |pairs: &[(&str, &str)]| {
            let list = pairs.iter().map(|(k, v)| (format!("dev.gvisor.spec.rootfs.{k}"), v.to_string())).collect();
            of_root(&list)
        };
        assert_eq!(of(&[]).unwrap(), None);
        for (pairs, words) in [
            (&[("type", "erofs")][..], ["source", "is missing"]),
            (&[("source", "/x")], ["source", "type=erofs is missing"]),
            (&[("type", "ext4"), ("source", "/x")], ["ext4", "only erofs"]),
            (&[("type", "erofs"), ("source", "x")], ["x must be", "absolute"]),
            (&[("type", "erofs"), ("source", "/no/such")], ["/no/such", "no such file"]),
            (&[("type", "erofs"), ("source", "/usr")], ["/usr", "no regular file"]),
        ] {
            let text = of(pairs).unwrap_err().to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}

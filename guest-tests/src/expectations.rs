//! guest-tests/expectations.toml: cases that are known to fail in stockade, each with its reason. The list only shrinks: a listed
//! case that passes is an error, so that its line is taken out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Known failures by `FAMILY/NAME:CASE`, or `FAMILY/NAME:*` for a program that fails as a whole.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    #[serde(default)]
    pub stockade: BTreeMap<String, String>,
    /// Real programs of guest-tests/real, by name.
    #[serde(default)]
    pub real: BTreeMap<String, String>,
}

impl Expectations {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Why this case is expected to fail, if it is.
    pub fn case(&self, program: &str, case: &str) -> Option<&str> {
        let exact = self.stockade.get(&format!("{program}:{case}"));
        exact.or_else(|| self.stockade.get(&format!("{program}:*"))).map(String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_cases() {
        let read: Expectations = toml::from_str("[stockade]\n\"a/b:c\" = \"x\"\n\"d/e:*\" = \"y\"\n").unwrap();
        assert_eq!(read.case("a/b", "c"), Some("x"));
        assert_eq!(read.case("a/b", "d"), None);
        assert_eq!(read.case("d/e", "anything"), Some("y"));
    }
}

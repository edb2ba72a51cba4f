//! What guest-tests/suites/NAME.sh runs natively and in stockade to prove file systems: Debian's packages, and conformance suites of crates.io, which are installed
//! once, in `STOCKADE_CACHE`/tools.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{packages, root, run};

/// Crates with their versions; each brings a program of its name.
const CRATES: [(&str, &str); 2] = [("pjdfstest", "=0.2.2"), ("fsx", "=0.3.2")];

/// The folder with the programs.
pub fn tools() -> Result<PathBuf> {
    packages::install(packages::SUITES)?;
    let folder = root::cache().join("tools");
    for (name, version) in CRATES {
        if folder.join("bin").join(name).exists() {
            continue;
        }
        println!("installing {name} {version} (once)");
        let mut command = run::cargo(&["install", "--quiet", name, "--version", version, "--root"]);
        command.arg(&folder);
        run::output(&mut command).with_context(|| format!("cannot install {name} from crates.io"))?;
    }
    Ok(folder.join("bin"))
}

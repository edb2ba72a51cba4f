//! The Debian root of the real programs: made once by guest-tests/real/make-root.sh and kept outside the checkout, in
//! `STOCKADE_CACHE` (default /var/cache/stockade), under a name that changes with the script.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{checkout, packages, run};

pub fn ready() -> Result<PathBuf> {
    let script = checkout().join("guest-tests/real/make-root.sh");
    let text = std::fs::read(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let root = cache().join(format!("root-{:016x}", hasher.finish()));
    if !root.is_dir() {
        packages::install(packages::TESTS)?;
        let log = cache().join("make-root.log");
        std::fs::create_dir_all(cache()).with_context(|| format!("cannot make {}", cache().display()))?;
        println!("making the Debian root {} (some minutes, once); log: {}", root.display(), log.display());
        let out = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone()?;
        let mut command = run::command("bash", &[]);
        command.arg(&script).arg(&root).stdout(out).stderr(err);
        run::pass(&mut command).with_context(|| format!("no Debian root; see {}", log.display()))?;
    }
    Ok(root)
}

pub fn cache() -> PathBuf {
    std::env::var_os("STOCKADE_CACHE").map_or_else(|| PathBuf::from("/var/cache/stockade"), PathBuf::from)
}

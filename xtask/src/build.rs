//! `cargo xtask build`: one static release binary at target/stockade.
//! Not position-independent: each of the three processes of a sandbox would relocate itself first, which costs a sixth of the time from start to end of
//! /bin/true, and 0.4 MB of private memory in each (docs/security.md on address randomisation). With an explicit `--target`, RUSTFLAGS do not reach build scripts and proc macros, which must stay dynamic.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{checkout, run};

const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn build() -> Result<PathBuf> {
    run::pass(
        run::cargo(&["rustc", "--release", "--package", "runtime", "--bin", "stockade", "--target", TARGET, "--"])
            .args(["-C", "relocation-model=static"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let folder = target_folder();
    let built = folder.join(TARGET).join("release/stockade");
    let (place, fresh) = (folder.join("stockade"), folder.join("stockade.new"));
    // A rename, because a sandbox may be running from the old file.
    fs::copy(&built, &fresh).with_context(|| format!("cannot copy {} to {}", built.display(), fresh.display()))?;
    fs::rename(&fresh, &place).with_context(|| format!("cannot put {} in place", place.display()))?;
    Ok(place)
}

pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from)
}

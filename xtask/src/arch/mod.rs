//! The rules of ARCHITECTURE.md as a test: crates depend downwards only (`tiers`), every source file opens with its
//! description and keeps unsafe code where it belongs (`sources`), and the modules of `kernel` keep their order
//! (`modules`). Run by `cargo xtask arch`, `check` and `test`.

mod modules;
mod sources;
mod tiers;

use anyhow::{Result, bail};

use crate::{checkout, run};

pub fn command(report: bool) -> Result<()> {
    if report {
        sources::report(&checkout())?;
        modules::report(&checkout())?;
    }
    let wrong = violations()?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{} violations of the architecture's rules:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every violation, one line each.
pub fn violations() -> Result<Vec<String>> {
    let metadata = run::output(&mut run::cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let mut wrong = tiers::check(&tiers::parse(&metadata)?);
    wrong.extend(sources::check(&checkout())?);
    wrong.extend(modules::check(&checkout())?);
    Ok(wrong)
}

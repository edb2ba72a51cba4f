//! `cargo xtask check`: what must hold before anything is landed, without running a sandbox.

use anyhow::Result;

use crate::{arch, links, run};

/// A check by its name.
pub type Step = (&'static str, fn() -> Result<()>);

/// In the order of their cost.
pub const STEPS: &[Step] =
    &[("format", format), ("architecture", || arch::command(false)), ("links", links::check), ("clippy", clippy)];

pub fn check() -> Result<()> {
    for (name, step) in STEPS {
        step()?;
        println!("{name}: ok");
    }
    Ok(())
}

fn format() -> Result<()> {
    run::pass(&mut run::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    run::pass(&mut run::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

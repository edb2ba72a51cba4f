//! `cargo xtask bench`: the same programs natively, under runc and under stockade, in turn; ratios, and JSON.

use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Write all figures, with the machine's description, to this file.
    #[arg(long)]
    pub json: Option<std::path::PathBuf>,
}

pub fn bench(_options: &Options) -> Result<()> {
    bail!("not there yet")
}

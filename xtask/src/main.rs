//! `cargo xtask`: the commands by which stockade is built, checked, tested, shown and measured.
//! Each command is a module; `arch` holds the rules of ARCHITECTURE.md as a test.

mod arch;
mod bench;
mod build;
mod check;
mod demo;
mod links;
mod packages;
mod root;
mod run;
mod stress;
mod suites;
mod test;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, checks, tests, shows and measures stockade")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the static binary and leave it at target/stockade.
    Build,
    /// Formatting, clippy, the architecture's rules and the links in the documents.
    Check,
    /// Install what the tests need, then run every test; ends with "N passed, N failed, N skipped".
    Test(test::Options),
    /// Install what is needed, build, and show a sandbox at work.
    Demo,
    /// Measure beside native, runc, crun and bwrap.
    Bench(bench::Options),
    /// stress-ng's stressors in one container, for an hour or as long as is asked; fails when something is lost or left behind.
    Stress(stress::Options),
    /// Make (or find) the Debian root of the real programs and print its path.
    Root,
    /// Only the architecture's rules; with --report also the sizes of the files and the order of kernel's modules.
    Arch {
        /// Print file sizes and the edges among kernel's modules.
        #[arg(long)]
        report: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Build => build::build().map(|path| println!("built {}", path.display())),
        Command::Check => check::check(),
        Command::Test(options) => test::test(&options),
        Command::Demo => demo::demo(),
        Command::Bench(options) => bench::bench(&options),
        Command::Stress(options) => stress::stress(&options),
        Command::Root => root::ready().map(|path| println!("{}", path.display())),
        Command::Arch { report } => arch::command(report),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the checkout, whatever folder the command was called in.
fn checkout() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}

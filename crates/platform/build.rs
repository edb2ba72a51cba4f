//! Builds the stub: `no_std`, position independent, a flat file that the library embeds.
//!
//! The linker script turns writable data, relocations and a GOT into build errors, so a stub that was built has none.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=stub");
    println!("cargo:rerun-if-changed=src/layout.rs");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    link(&out.join("stub.bin"), true);
    link(&out.join("stub.elf"), false); // the same with symbols, for debugging
}

fn link(to: &std::path::Path, flat: bool) {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut command = Command::new(rustc);
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.args(["--edition=2024", "--crate-type=bin", "--crate-name=stub", "--target=x86_64-unknown-linux-gnu"]);
    for flag in [
        "opt-level=2",
        "panic=abort",
        "relocation-model=pic",
        "relro-level=off",
        "codegen-units=1",
        "force-unwind-tables=no",
        "debug-assertions=no",
        "overflow-checks=no",
        "no-vectorize-loops",
        "no-vectorize-slp",
        "linker=rust-lld",
        "linker-flavor=ld.lld",
        "link-arg=--script=stub/stub.ld",
        "link-arg=--no-dynamic-linker",
        "link-arg=-pie",
        "link-arg=-ztext",
        "link-arg=--gc-sections",
    ] {
        command.arg("-C").arg(flag);
    }
    if flat {
        command.args(["-C", "link-arg=--oformat=binary"]);
    }
    command.arg("stub/main.rs").arg("-o").arg(to);
    match command.status() {
        Ok(status) if status.success() => {}
        other => {
            println!(
                "cargo:warning=the stub could not be built: {other:?}; rust-lld must be in the toolchain's sysroot"
            );
            std::process::exit(1);
        }
    }
}

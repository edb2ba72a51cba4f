//! The Debian packages that a command needs: installed by apt-get where they are missing and we are root.

use anyhow::{Result, bail};

use crate::run;

/// A program and the package that brings it.
pub type Need = (&'static str, &'static str);

pub const TESTS: &[Need] = &[
    ("gcc", "gcc libc6-dev"),
    ("debootstrap", "debootstrap"),
    ("unshare", "util-linux"),
    ("busybox", "busybox-static"),
    ("mkfs.erofs", "erofs-utils"),
    ("ps", "procps"),
];
/// Container engines, of whose tests each says what it misses.
pub const ENGINES: &[Need] = &[
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("podman", "podman"),
    ("conmon", "conmon"),
    ("script", "bsdutils"),
    ("busybox", "busybox-static"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("bwrap", "bubblewrap"),
    ("python3", "python3"),
];
/// What the suites of file systems take, and the building of some of them.
pub const SUITES: &[Need] = &[
    ("setfacl", "acl libacl1-dev"),
    ("gcc", "gcc libc6-dev"),
    ("fio", "fio"),
    ("dbench", "dbench"),
    ("bonnie++", "bonnie++"),
    ("python3", "python3"),
    ("tar", "tar"),
];
/// To boot another kernel; the kernel's own package is taken apart, not installed.
pub const KERNELS: &[Need] = &[
    ("qemu-system-x86_64", "qemu-system-x86 seabios"),
    ("busybox", "busybox-static"),
    ("gcc", "gcc libc6-dev"),
    ("strip", "binutils"),
];
pub const DEMO: &[Need] = &[("gcc", "gcc libc6-dev"), ("python3", "python3"), ("ps", "procps")];
pub const BENCH: &[Need] = &[
    ("gcc", "gcc libc6-dev"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("bwrap", "bubblewrap"),
    ("busybox", "busybox-static"),
];

pub fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !run::exists(need.0)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.1.split(' ')).collect();
    let line = format!("apt-get install {}", packages.join(" "));
    let is_root = run::output(&mut run::command("id", &["-u"]))?.trim() == "0";
    if !is_root || !run::exists("apt-get") {
        bail!("missing: {}. Install them first, on Debian as root: {line}", packages.join(" "));
    }
    println!("installing {}", packages.join(" "));
    let mut args = vec!["-q", "-y", "--no-install-recommends", "install"];
    args.extend(&packages);
    let environment = [("DEBIAN_FRONTEND", "noninteractive")];
    if run::output(run::command("apt-get", &args).envs(environment)).is_err() {
        run::output(&mut run::command("apt-get", &["-q", "update"]))?;
        run::output(run::command("apt-get", &args).envs(environment))?;
    }
    Ok(())
}

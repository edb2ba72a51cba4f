//! The real programs: guest-tests/real/NAME.sh, run by bash within the Debian root. Natively that is a chroot in namespaces of
//! its own over a throw-away overlay; in stockade `stockade do --rootfs ROOT`. A script passes when it ends with status 0 and
//! prints `ok` last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::expectations::Expectations;
use crate::place::{self, Place, Ran};
use crate::suite::Sums;

const LIMIT: Duration = Duration::from_secs(300);

/// All scripts whose name contains `filter`; make-root.sh and files that start with `lib` are none.
pub fn find(folder: &Path, filter: &str) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut scripts = list.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    scripts.retain(|path| {
        let name = name(path);
        path.extension().is_some_and(|ext| ext == "sh") && name != "make-root" && name.contains(filter)
    });
    scripts.sort();
    Ok(scripts)
}

/// Runs one script in a place.
pub fn run(place: &Place, root: &Path, script: &Path, logs: &Path) -> Result<Ran> {
    let text = fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    let inside =
        ["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "/bin/bash", "-c"];
    let command = match place {
        Place::Native => {
            let mut command = Command::new("unshare");
            command.args([
                "--mount",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child",
                "--",
                "bash",
                "-euc",
                NATIVE,
                "native",
            ]);
            command.arg(root).args(inside).arg(&text);
            command
        }
        Place::Stockade { binary, flags, do_flags } => {
            let mut command = Command::new(binary);
            command.args(flags).arg("do").args(do_flags).arg("--rootfs").arg(root).arg("--").args(inside).arg(&text);
            command
        }
    };
    let log = logs.join(place.name()).join("real").join(format!("{}.log", name(script)));
    place::run(command, &log, LIMIT)
}

/// $1 is the root, the rest a command: an overlay in memory, so that the cached root stays as it is.
const NATIVE: &str = r#"
    mount --make-rprivate /
    top=$(mktemp -d /tmp/guest-tests.XXXXXX)
    mount -t tmpfs tmpfs "$top"
    mkdir "$top/up" "$top/work" "$top/root"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$top/up,workdir=$top/work" "$top/root"
    mount -t proc proc "$top/root/proc"
    mount --rbind /dev "$top/root/dev"
    mount -t sysfs sysfs "$top/root/sys"
    rmdir "$top" 2>/dev/null || true
    shift
    exec chroot "$top/root" "$@"
"#;

/// Why a script failed; nothing when it passed.
pub fn failure(ran: &Ran) -> Option<String> {
    let last = ran.output.lines().last().unwrap_or("");
    match place::ending(ran) {
        Some(ending) => Some(format!("{ending}; {last}")),
        None if last != "ok" => Some(format!("did not print ok; {last}")),
        None => None,
    }
}

/// Runs all scripts in a place one after the other and sums up.
pub fn run_all(
    place: &Place,
    root: &Path,
    scripts: &[PathBuf],
    known: Option<&Expectations>,
    logs: &Path,
) -> Result<Sums> {
    let mut sums = Sums::default();
    for script in scripts {
        let name = name(script);
        let ran = run(place, root, script, logs)?;
        let expected = known.and_then(|known| known.real.get(&name));
        let line = match (failure(&ran), expected) {
            (None, None) => {
                sums.passed += 1;
                "ok".to_string()
            }
            (None, Some(_)) => {
                sums.failed += 1;
                "UNEXPECTED PASS: take it out of expectations.toml".into()
            }
            (Some(why), Some(reason)) => {
                sums.skipped += 1;
                format!("fails as expected ({reason}): {why}")
            }
            (Some(why), None) => {
                sums.failed += 1;
                format!("FAILED: {why}")
            }
        };
        println!("{:8} real/{name:27} {line} ({} ms)", place.name(), ran.took.as_millis());
    }
    Ok(sums)
}

fn name(path: &Path) -> String {
    path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

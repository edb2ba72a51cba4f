//! The root of `cargo xtask bench --fs`: a host overlay of Debian's root with a layer of prepared files below a fresh writable one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use guest_tests::programs;

use crate::{build, checkout, root, run};

/// A layer and the Debian root that it lies over.
pub struct Layer {
    files: PathBuf,
    debian: PathBuf,
}

/// Makes the prepared files, once: the folder of a million names takes some 20 seconds.
pub fn prepared() -> Result<Layer> {
    let sources = checkout().join("guest-tests/programs");
    let program = programs::one(&sources, &build::target_folder().join("guest-tests/bin"), "bench/fsbench")?;
    let debian = root::ready()?;
    let files = root::cache().join("bench-files");
    let bench = files.join("srv/bench");
    if !bench.join("ready").exists() {
        println!("making the prepared files {} (once)", files.display());
        small(&bench.join("small"))?;
        for count in ["100000", "1000000"] {
            let folder = bench.join(count);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            run::output(Command::new(&program).arg("many").arg(&folder).arg(count))?;
        }
        fs::File::create(bench.join("file"))?.set_len(1 << 30)?;
        fs::write(bench.join("ready"), "")?;
    }
    for (from, name) in [(program.as_path(), "fsbench"), (&sources.join("bench/fs.sh"), "fs.sh")] {
        fs::copy(from, bench.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(Layer { files, debian })
}

/// 5,000 files of 100 folders, with texts of some 2 KiB.
fn small(folder: &Path) -> Result<()> {
    for i in 0..100 {
        let folder = folder.join(format!("folder-{i}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for j in 0..50 {
            let line = format!("line of text in file {j} of folder {i}, without what is searched for\n");
            let mut text = line.repeat(30);
            if j % 10 == 0 {
                text.push_str("needle\n");
            }
            fs::write(folder.join(format!("file-{j}.txt")), text)?;
        }
    }
    Ok(())
}

/// A mounted root, unmounted and removed at its end.
pub struct Root {
    /// Holds the layers, the mount and whatever else goes with it.
    pub folder: PathBuf,
    pub merged: PathBuf,
}

impl Root {
    pub fn mount(layer: &Layer) -> Result<Root> {
        let folder = build::target_folder().join(format!("tmp/bench-root-{}", std::process::id()));
        let merged = folder.join("merged");
        let [upper, work] = ["upper", "work"].map(|name| folder.join(name));
        for made in [&merged, &upper, &work] {
            fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        let options = format!(
            "lowerdir={}:{},upperdir={},workdir={}",
            layer.files.display(),
            layer.debian.display(),
            upper.display(),
            work.display()
        );
        run::output(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged))?;
        Ok(Root { folder, merged })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Never below a root that is still mounted.
        if run::output(Command::new("umount").arg(&self.merged)).is_ok() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

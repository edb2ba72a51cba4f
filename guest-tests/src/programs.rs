//! Finding and compiling the guest programs: guest-tests/programs/FAMILY/NAME.c becomes OUT/FAMILY/NAME, static, unless
//! it is newer than its source and the shared headers already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// The family of helpers that are no tests: the launcher and headers.
const SUPPORT: &str = "support";

/// One compiled guest program.
#[derive(Clone, Debug)]
pub struct Program {
    /// FAMILY/NAME.
    pub name: String,
    pub binary: PathBuf,
}

impl Program {
    /// It attacks the kernel below it, which makes sense in stockade only.
    pub fn is_hostile(&self) -> bool {
        self.name.starts_with("hostile/")
    }
}

/// All test programs whose name contains `filter`, compiled.
pub fn ready(sources: &Path, out: &Path, filter: &str) -> Result<Vec<Program>> {
    let shared = newest_shared(sources)?;
    let mut found = Vec::new();
    for family in entries(sources)?.into_iter().filter(|path| path.is_dir() && !path.ends_with(SUPPORT)) {
        for source in entries(&family)?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "c")) {
            let name = format!("{}/{}", file_name(&family), file_name(&source.with_extension("")));
            if name.contains(filter) && !name.starts_with("bench/") && !name.starts_with("random/") {
                found.push((source, Program { binary: out.join(&name), name }));
            }
        }
    }
    let jobs = Mutex::new(found.iter());
    let failed = Mutex::new(Vec::new());
    let worker = || {
        while let Some((source, program)) = jobs.lock().ok().and_then(|mut jobs| jobs.next()) {
            if let Err(error) = compile(source, &program.binary, shared)
                && let Ok(mut failed) = failed.lock()
            {
                failed.push(format!("{error:#}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(worker);
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if !failed.is_empty() {
        bail!("guest programs that do not compile:\n{}", failed.join("\n"));
    }
    Ok(found.into_iter().map(|(_, program)| program).collect())
}

/// One program by name, such as `support/launch` or `bench/callbench`.
pub fn one(sources: &Path, out: &Path, name: &str) -> Result<PathBuf> {
    let binary = out.join(name);
    compile(&sources.join(name).with_extension("c"), &binary, newest_shared(sources)?)?;
    Ok(binary)
}

fn compile(source: &Path, binary: &Path, shared: SystemTime) -> Result<()> {
    let newest = modified(source)?.max(shared);
    if binary.exists() && modified(binary)? > newest {
        return Ok(());
    }
    let folder = binary.parent().context("a program without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let support = source.parent().and_then(Path::parent).context("a source without a family")?.join(SUPPORT);
    let out = Command::new("gcc")
        .args([
            "-std=gnu11",
            "-O1",
            "-g",
            "-Wall",
            "-Werror",
            "-Wno-unused-result",
            "-Wno-nonnull", // wrong addresses are given on purpose
            "-Wno-stringop-overread",
            "-Wno-stringop-overflow",
            "-Wno-array-bounds",
            "-fno-stack-protector",
        ])
        .args(["-static", "-pthread", "-I"])
        .arg(support)
        .arg("-o")
        .arg(binary)
        .arg(source)
        .output()
        .context("cannot start gcc: install gcc and libc6-dev")?;
    if !out.status.success() {
        bail!("{}:\n{}", source.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

fn newest_shared(sources: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for path in
        entries(&sources.join(SUPPORT))?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "h"))
    {
        newest = newest.max(modified(&path)?);
    }
    Ok(newest)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = list.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn modified(path: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(metadata.modified()?)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

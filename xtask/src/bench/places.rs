//! Where a program is measured: natively, and under each runtime on one read-only root with a tmpfs at /tmp.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::run;

/// Where the measuring program is found inside.
pub const PROGRAM: &str = "/srv/callbench";

enum Kind {
    Native,
    /// A runtime with runc's command line.
    Oci(PathBuf),
    Bwrap,
    Do(PathBuf),
}

pub struct Place {
    pub name: &'static str,
    pub measures_calls: bool,
    kind: Kind,
    root: PathBuf,
    program: PathBuf,
}

pub fn all(stockade: &Path, root: &Path, program: &Path) -> Vec<Place> {
    let place =
        |name, measures_calls, kind| Place { name, measures_calls, kind, root: root.into(), program: program.into() };
    vec![
        place("native", true, Kind::Native),
        place("runc", true, Kind::Oci("runc".into())),
        place("crun", false, Kind::Oci("crun".into())),
        place("bwrap", false, Kind::Bwrap),
        place("stockade run", false, Kind::Oci(stockade.into())),
        place("stockade do", true, Kind::Do(stockade.into())),
    ]
}

impl Place {
    /// Runs a program to its end and returns what it printed.
    pub fn run(&self, bundle: &Path, words: &[&str]) -> Result<String> {
        self.run_as(&format!("bench-{}", std::process::id()), bundle, words)
    }

    /// As `run`, in a container of that name, of which several may run at once, each with a bundle of its own.
    pub fn run_as(&self, name: &str, bundle: &Path, words: &[&str]) -> Result<String> {
        let mut command = match &self.kind {
            Kind::Native => {
                let first = words.first().filter(|word| **word != PROGRAM).map_or(self.program.as_path(), Path::new);
                let mut command = Command::new(first);
                command.args(words.get(1..).unwrap_or_default());
                command
            }
            Kind::Oci(runtime) => {
                self.write_bundle(bundle, words)?;
                let mut command = Command::new(runtime);
                command.args(["run", "--bundle"]).arg(bundle).arg(name);
                command
            }
            Kind::Bwrap => {
                let mut command = Command::new("bwrap");
                command.args(["--unshare-all", "--ro-bind"]).arg(&self.root);
                command.args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]).args(words);
                command
            }
            Kind::Do(stockade) => {
                let mut command = Command::new(stockade);
                // The program lies on the host's root: measured there, while /bin/true runs on the common one.
                if words.first() == Some(&PROGRAM) {
                    command.args(["do", "--"]).arg(&self.program).args(words.get(1..).unwrap_or_default());
                } else {
                    command.args(["do", "--rootfs"]).arg(&self.root).arg("--").args(words);
                }
                command
            }
        };
        let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", self.name))?;
        if !out.status.success() {
            let error = String::from_utf8_lossy(&out.stderr);
            bail!("{}: {}", out.status, error.lines().last().unwrap_or(""));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// runc's own default configuration, without a terminal, on our root.
    fn write_bundle(&self, bundle: &Path, words: &[&str]) -> Result<()> {
        std::fs::create_dir_all(bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
        let file = bundle.join("config.json");
        let template = bundle.join("template.json");
        if !template.exists() {
            let _ = std::fs::remove_file(&file);
            run::output(Command::new("runc").arg("spec").current_dir(bundle))?;
            std::fs::rename(&file, &template)?;
        }
        let mut config: Value = serde_json::from_slice(&std::fs::read(&template)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(words);
        config["root"] = json!({ "path": self.root, "readonly": true });
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] }));
            let place = json!({ "destination": "/srv", "type": "bind", "source": self.program.parent(), "options": ["bind", "ro"] });
            mounts.push(place);
        }
        std::fs::write(&file, serde_json::to_vec(&config)?).with_context(|| format!("cannot write {}", file.display()))
    }
}

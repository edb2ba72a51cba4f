//! What the tests of the command line share: a bundle, a state folder, and the binary, with the pretended kernel (examples/fake.rs) or the real one.
#![allow(dead_code)]

pub mod pod;
pub mod talk;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A folder with `b` (the bundle) and `s` (the states); removed at the end, and looked at for leftovers.
pub struct Place {
    pub dir: PathBuf,
    pub binary: PathBuf,
    /// In the environment of every process of this place: by it they are found.
    mark: String,
}

pub struct Answer {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = std::env::temp_dir().join(format!(
            "stockade-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("b/rootfs/bin")).unwrap();
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_stockade")).with_file_name("examples").join("fake");
        let mark = dir.file_name().unwrap().to_string_lossy().into_owned();
        let place = Place { dir, binary, mark };
        place.config(&["true"], |_| ());
        place
    }

    /// With the real kernel, and busybox as the container's root.
    pub fn real() -> Place {
        let mut place = Place::new();
        place.binary = PathBuf::from(env!("CARGO_BIN_EXE_stockade"));
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("no busybox: install the Debian package busybox-static");
        let bin = place.dir.join("b/rootfs/bin");
        std::fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in
            ["sh", "true", "false", "sleep", "cat", "echo", "id", "env", "pwd", "kill", "ls", "head", "wc", "grep"]
        {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        for dir in ["dev", "proc", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(place.dir.join("b/rootfs").join(dir)).unwrap();
        }
        place
    }

    /// Where the container's cgroup is, in each hierarchy; only root makes one.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.mark)
    }

    /// Folders of the host's cgroups that are this place's.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = vec![Path::new("/sys/fs/cgroup").join(&self.mark)];
        for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            found.push(entry.path().join(&self.mark));
        }
        found.retain(|path| path.exists());
        found
    }

    /// Writes config.json that runs `args`, changed by `change`.
    pub fn config(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let mut value = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": args, "cwd": "/", "env": ["PATH=/bin"] },
            "root": { "path": "rootfs", "readonly": true },
            "linux": {},
        });
        change(&mut value);
        std::fs::write(self.dir.join("b/config.json"), serde_json::to_string(&value).unwrap()).unwrap();
    }

    pub fn bundle(&self) -> PathBuf {
        self.dir.join("b")
    }

    pub fn states(&self) -> PathBuf {
        self.dir.join("s")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(self.states()).args(args).current_dir(self.bundle());
        // The one variable that the kernel process and the gofer are given, too.
        command.env("RUST_BACKTRACE", &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Output goes to files, not pipes: a detached container keeps its streams open.
    pub fn run(&self, args: &[&str]) -> Answer {
        use std::os::unix::process::ExitStatusExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.dir.join(format!("out{number}")), self.dir.join(format!("err{number}")));
        let create = |path: &Path| std::fs::File::create(path).unwrap();
        let mut child = self.command(args).stdout(create(&out)).stderr(create(&err)).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > end => {
                    child.kill().unwrap();
                    panic!("{args:?} hangs: {}", std::fs::read_to_string(&err).unwrap());
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Answer { status, out: read(&out), err: read(&err) }
    }

    /// Runs a shell script in which `$RUN` is a foreground `run x` of this place; status, output, errors.
    pub fn shell(&self, script: &str) -> (i32, String, String) {
        let command = self.command(&["run", "x"]);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect();
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(script).env("RUN", words.join(" ")).current_dir(self.bundle()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let output = shell.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Succeeds, or shows why not.
    pub fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.status, 0, "{args:?}: {}", answer.err);
        answer.out
    }

    /// Fails with `status` and one line that holds all of `words`; leaves nothing.
    pub fn fails(&self, args: &[&str], status: i32, words: &[&str]) {
        let answer = self.run(args);
        assert_eq!(answer.status, status, "{args:?}: {:?}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{args:?}: no {word:?} in {:?}", answer.err);
        }
        assert_eq!(answer.err.lines().count(), 1, "{args:?}: {:?}", answer.err);
    }

    pub fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state", id])).unwrap();
        state["status"].as_str().unwrap().to_string()
    }

    pub fn pid(&self, id: &str) -> i32 {
        let state: Value =
            serde_json::from_slice(&std::fs::read(self.states().join(id).join("state.json")).unwrap()).unwrap();
        state["pid"].as_i64().unwrap() as i32
    }

    /// No state and no process of ours is left.
    pub fn assert_empty(&self) {
        let left = || -> Vec<PathBuf> {
            std::fs::read_dir(self.states()).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default()
        };
        wait_for(|| left().is_empty(), || format!("left behind: {:?}", left()));
        self.assert_no_process();
    }

    /// No process of this place's binary is left (waits a moment for those on their way out).
    pub fn assert_no_process(&self) {
        wait_for(|| self.processes().is_empty(), || format!("processes left: {:?}", self.processes()));
    }

    /// Host processes of this place's commands, kernel processes and gofers; stubs end with their kernel process.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        let mark = format!("RUST_BACKTRACE={}", self.mark);
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
            if !environment.split(|b| *b == 0).any(|v| v == mark.as_bytes()) || !alive(pid) {
                continue;
            }
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.states()).into_iter().flatten().flatten() {
            let _ = self.run(&["delete", "--force", &entry.file_name().to_string_lossy()]);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn wait_for(done: impl Fn() -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

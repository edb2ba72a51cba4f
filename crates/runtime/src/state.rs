//! What is known of containers on disk: `<root>/<id>/` with state.json, a lock, and the control socket.
//!
//! The folder is claimed first (rename(2) is the decision between two at once), state.json is replaced as a whole (rename(2)), changes happen under
//! flock(2) of `lock`. Whether a container runs is never read from disk: the kernel process is asked. Neighbours: `launch`, `commands`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use host::rustix::fs::{FlockOperation, flock};
use sandbox::client::Client;
use sandbox::machine::Status;
use serde::{Deserialize, Serialize};

/// state.json. Fields may be added, none may change its meaning.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    /// Who made it.
    pub uid: u32,
    /// The kernel process; 0 until it exists.
    pub pid: i32,
    /// Its start time, in the host's clock ticks since boot: a process id is used again, this pair is not.
    pub pid_start: u64,
    pub gofer_pid: i32,
    pub gofer_start: u64,
    /// Deleted by itself at its end (`run` in the foreground).
    pub ephemeral: bool,
    /// The command that made it.
    pub maker: i32,
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Folders of cgroups to remove at the end.
    pub cgroups: Vec<PathBuf>,
    /// The `process` of config.json, from which `exec` takes what it is not told.
    pub process: serde_json::Value,
    pub hooks: serde_json::Value,
    /// The container in whose sandbox it is, a pod's first one. Its own `pid` is the process that stands for it then.
    pub sandbox: Option<String>,
}

/// OCI's status of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Life {
    pub fn name(self) -> &'static str {
        match self {
            Life::Creating => "creating",
            Life::Created => "created",
            Life::Running => "running",
            Life::Paused => "paused",
            Life::Stopped => "stopped",
        }
    }
}

/// Between an id and a process id: the folder is on its way in or out, by that process. No id holds this character.
const BESIDE: char = '~';

/// The folder of all states.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

/// One container's folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// Held while a container is being changed.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Root {
    /// `--root`, or the place that fits the user.
    pub fn new(given: Option<&Path>) -> Result<Root> {
        let uid = host::rustix::process::geteuid().as_raw();
        let path = match (given, std::env::var_os("XDG_RUNTIME_DIR")) {
            (Some(path), _) => std::path::absolute(path)?,
            (None, _) if uid == 0 && !in_user_namespace() => PathBuf::from("/run/stockade"),
            (None, Some(dir)) if !dir.is_empty() => PathBuf::from(dir).join("stockade"),
            _ => PathBuf::from(format!("/tmp/stockade-{uid}")),
        };
        Ok(Root(path))
    }

    pub fn folder(&self, id: &str) -> Result<Folder> {
        check_id(id)?;
        Ok(Folder(self.0.join(id)))
    }

    /// Makes the folder of a new container, locked; no other command can have the id then. It is made beside and moved into place, which fails where
    /// a folder with anything in it is: so nobody ever sees one without its lock, and a killed maker leaves none.
    pub fn claim(&self, id: &str) -> Result<(Folder, Lock)> {
        let folder = self.folder(id)?;
        let new = Folder(self.unused(id));
        let fresh = || fs::DirBuilder::new().mode(0o711).create(&new.0);
        let made = match fresh() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).with_context(|| {
                    format!("cannot make the state folder {}; choose another one with --root", self.0.display())
                })?;
                self.check_owner()?;
                fresh()
            }
            other => other,
        };
        made.with_context(|| {
            format!("cannot make a folder in {}; choose another state folder with --root", self.0.display())
        })?;
        let claimed = new.lock().and_then(|lock| match fs::rename(&new.0, &folder.0) {
            Ok(()) => Ok(lock),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists) => {
                bail!(
                    "container with given ID already exists: {id} (remove it with `stockade delete {id}`, or choose another id)"
                )
            }
            Err(e) => Err(anyhow!(e).context(format!("cannot make {}", folder.0.display()))),
        });
        if claimed.is_err() {
            let _ = fs::remove_dir_all(&new.0);
        }
        Ok((folder, claimed?))
    }

    /// A name beside that of container `id`, which no container can have.
    fn unused(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}{BESIDE}{}", std::process::id()))
    }

    /// Removes what commands that were killed left beside container `id`, or all: a folder on its way in or out.
    pub fn sweep(&self, id: Option<&str>) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some((whose, pid)) = name.to_str().and_then(|name| name.split_once(BESIDE)) else { continue };
            let dead = pid.parse().is_ok_and(|pid| start_time(pid).is_none());
            if dead && id.is_none_or(|id| id == whose) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot read the state folder {}", self.0.display()))?,
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// /tmp is everyone's: a folder there must be ours.
    fn check_owner(&self) -> Result<()> {
        let owner = fs::metadata(&self.0)?.uid();
        let ours = host::rustix::process::geteuid().as_raw();
        if owner != ours {
            bail!(
                "the state folder {} belongs to user {owner}, not to {ours}; choose another one with --root",
                self.0.display()
            );
        }
        Ok(())
    }
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn id(&self) -> Option<&str> {
        self.0.file_name()?.to_str()
    }

    /// Waits for its turn; an error when the container has gone meanwhile.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match file {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!("container does not exist"),
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", path.display()))?;
        match fs::metadata(&path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => Ok(Lock(file)),
            _ => bail!("container does not exist"),
        }
    }

    /// As [`Folder::lock`], but `None` when somebody else holds it.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(host::rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            other => other?,
        }
        let same = fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        Ok(same.then_some(Lock(file)))
    }

    /// `None` for a folder whose maker died before the first state was written.
    pub fn read(&self) -> Result<Option<State>> {
        let path = self.0.join("state.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let state = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is damaged; remove the container with `stockade delete --force`", path.display())
                })?;
                Ok(Some(state))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.0.exists() => Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!("container does not exist"),
            Err(e) => Err(anyhow!(e).context(format!("cannot read {}", path.display()))),
        }
    }

    /// As [`Folder::read`], where a half-made container will not do.
    pub fn read_whole(&self) -> Result<State> {
        self.read()?.ok_or_else(|| anyhow!("the container is half-made; remove it with `stockade delete --force`"))
    }

    /// Replaces state.json as a whole.
    pub fn write(&self, state: &State) -> Result<()> {
        let (path, new) = (self.0.join("state.json"), self.0.join(".state.json.new"));
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            std::io::Write::write_all(&mut file, &serde_json::to_vec(state)?)?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("cannot write {}; is the disk full?", path.display()))
    }

    /// Removes the folder with all it holds. It goes out of the way as a whole first: who comes while its files go one by one would find a
    /// container that is half there.
    pub fn remove(&self) -> Result<()> {
        let mut doomed = self.0.clone().into_os_string();
        doomed.push(format!("{BESIDE}{}", std::process::id()));
        match fs::rename(&self.0, &doomed).and_then(|()| fs::remove_dir_all(&doomed)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(anyhow!(e).context(format!("cannot remove {}", self.0.display())))
            }
            _ => Ok(()),
        }
    }

    pub fn connect(&self) -> Result<Client> {
        Client::connect(&self.0).map_err(|e| anyhow!(e).context("cannot reach the sandbox"))
    }
}

impl State {
    /// One of its processes is there.
    pub fn lives(&self) -> bool {
        (self.pid != 0 && alive(self.pid, self.pid_start))
            || (self.gofer_pid != 0 && alive(self.gofer_pid, self.gofer_start))
    }

    /// Asks the kernel process, if it lives.
    pub fn life(&self, folder: &Folder) -> Life {
        if self.pid == 0 {
            return Life::Creating;
        }
        if !alive(self.pid, self.pid_start) {
            return Life::Stopped;
        }
        let asked = Client::connect(folder.path()).ok().and_then(|client| {
            client.set_timeout(std::time::Duration::from_secs(10)).ok()?;
            client.status(&self.id).ok()
        });
        match asked {
            Some(Status::Created) => Life::Created,
            Some(Status::Running) => Life::Running,
            Some(Status::Paused) => Life::Paused,
            Some(Status::Stopped) => Life::Stopped,
            // It lives but does not answer: it is on its way out, or stuck.
            None if alive(self.pid, self.pid_start) => Life::Running,
            None => Life::Stopped,
        }
    }
}

/// The start time of a process, unless it has ended (also: is a zombie).
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

pub fn alive(pid: i32, start: u64) -> bool {
    start_time(pid) == Some(start)
}

/// runc's rule: letters, digits and `_+-.`, and no `.` or `..`.
pub fn check_id(id: &str) -> Result<()> {
    let good = !id.is_empty()
        && id != "."
        && id != ".."
        && id.len() <= 1024
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b));
    if good { Ok(()) } else { bail!("invalid container ID format: {id:?} (use letters, digits, and _ + - .)") }
}

/// Root inside a user namespace is an ordinary user outside.
pub fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        let words: Vec<&str> = map.split_whitespace().collect();
        words != ["0", "0", "4294967295"]
    })
}

//! A file system that is being configured: the file of fsopen(2) and fspick(2).
//!
//! fsconfig(2) collects options, then makes or reconfigures the file system; reading the file gives the messages of what went wrong.
//! Neighbours: `mounts` makes the mount. Locks: `FileState`, never over a call of the file system.

use super::mount_flags::reconfigure;
use super::{File, FileOps, FileSystem, FsType, Mount, Position, make_mount};
use crate::io::{Io, Sink};
use crate::locks::FileState;
use crate::op::{Op, Stop, fail};
use abi::Errno;
use abi::fs::{MS_RDONLY, OpenFlags};
use lock::Mutex;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Options of a file system are at most this long together, as those of mount(2).
const OPTIONS_MAX: usize = 4096;
/// Messages that are kept; older ones are dropped.
const MESSAGES_MAX: usize = 8;

/// See the module.
pub struct FsConfig {
    about: About,
    state: Mutex<State, FileState>,
}

enum About {
    New(&'static FsType),
    /// One that is there, to be changed.
    Picked(Arc<FileSystem>),
}

#[derive(Default)]
struct State {
    phase: Phase,
    source: Option<Box<[u8]>>,
    options: Vec<u8>,
    read_only: bool,
    messages: VecDeque<String>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Configuring,
    /// Made, to be mounted by fsmount(2).
    Made(Arc<Mount>),
    Mounted,
    Failed,
}

/// A file for a new file system of a type, or (`picked`) for changing one that is mounted.
pub fn new_fs_config(fs: Option<&'static FsType>, picked: Option<Arc<FileSystem>>) -> Op<Arc<File>> {
    let about = match (fs, picked) {
        (Some(fs), None) => About::New(fs),
        (None, Some(fs)) => About::Picked(fs),
        _ => return fail(Errno::EINVAL),
    };
    let read_only = matches!(&about, About::Picked(fs) if fs.read_only.load(Relaxed));
    let state = State { read_only, ..State::default() };
    Ok(File::anonymous(Arc::new(FsConfig { about, state: Mutex::new(state) }), OpenFlags::RDWR))
}

impl FsConfig {
    fn say(&self, text: &str) {
        let mut state = self.state.lock();
        if state.messages.len() >= MESSAGES_MAX {
            state.messages.pop_front();
        }
        state.messages.push_back(format!("e {}: {text}\n", self.type_name()));
    }

    /// FSCONFIG_SET_FLAG and FSCONFIG_SET_STRING. `check` tells whether the type knows an option.
    pub fn set(&self, key: &[u8], value: Option<&[u8]>, check: fn(&[u8]) -> Op<()>) -> Op<()> {
        if !matches!(self.state.lock().phase, Phase::Configuring) {
            return fail(Errno::EBUSY);
        }
        match (key, value) {
            (b"ro", _) => self.state.lock().read_only = true,
            (b"rw", _) => self.state.lock().read_only = false,
            // What every file system takes, and what has no effect here.
            (b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand" | b"silent", None) => {
            }
            (b"source", Some(value)) => {
                let mut state = self.state.lock();
                if state.source.is_some() {
                    drop(state);
                    self.say("Multiple sources not supported");
                    return fail(Errno::EINVAL);
                }
                state.source = Some(value.into());
            }
            _ => {
                let mut option = key.to_vec();
                if let Some(value) = value {
                    option.push(b'=');
                    // A comma in a value does not end it.
                    for byte in value {
                        option.extend((*byte == b',').then_some(b'\\'));
                        option.push(*byte);
                    }
                }
                if let Err(stop) = check(&option) {
                    self.say(&format!("Unknown parameter or bad value '{}'", String::from_utf8_lossy(&option)));
                    return Err(stop);
                }
                let mut state = self.state.lock();
                if state.options.len() + option.len() + 1 > OPTIONS_MAX {
                    return fail(Errno::EINVAL);
                }
                if !state.options.is_empty() {
                    state.options.push(b',');
                }
                state.options.extend_from_slice(&option);
            }
        }
        Ok(())
    }

    /// The name of the type, by which options are checked.
    pub fn type_name(&self) -> &'static str {
        match &self.about {
            About::New(fs) => fs.name,
            About::Picked(fs) => fs.ops.name(),
        }
    }

    /// FSCONFIG_CMD_CREATE.
    pub fn create(&self, io: &mut Io<'_>, kernel: &Arc<crate::Kernel>) -> Op<()> {
        let About::New(fs) = &self.about else { return fail(Errno::EBUSY) };
        let (source, options, flags) = {
            let state = self.state.lock();
            if !matches!(state.phase, Phase::Configuring) {
                return fail(Errno::EBUSY);
            }
            let flags = if state.read_only { MS_RDONLY } else { 0 };
            (state.source.clone().unwrap_or_else(|| (*b"none").into()), state.options.clone(), flags)
        };
        match make_mount(io, kernel, fs, &source, flags, &options) {
            Ok(mount) => {
                self.state.lock().phase = Phase::Made(mount);
                Ok(())
            }
            Err(Stop::Errno(errno)) => {
                self.say(&format!("cannot be made with the options '{}': {errno}", String::from_utf8_lossy(&options)));
                self.state.lock().phase = Phase::Failed;
                fail(errno)
            }
            Err(stop) => Err(stop),
        }
    }

    /// FSCONFIG_CMD_RECONFIGURE.
    pub fn reconfigure(&self, io: &mut Io<'_>) -> Op<()> {
        let About::Picked(fs) = &self.about else { return fail(Errno::EBUSY) };
        if !fs.administered_by(&io.cred) {
            return fail(Errno::EPERM);
        }
        let (options, read_only) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.options), state.read_only)
        };
        reconfigure(io, fs, read_only, &options)
    }

    /// fsmount(2): the mount that was made, once, with its own flags.
    pub fn mount(&self, flags: u32) -> Op<Arc<Mount>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Mounted) {
            Phase::Made(mount) => {
                mount.set_flags(flags);
                Ok(mount)
            }
            before => {
                state.phase = before;
                fail(Errno::EINVAL)
            }
        }
    }
}

impl FileOps for FsConfig {
    fn position(&self) -> Position {
        Position::Stream
    }
    fn read(&self, _io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let message = {
            let mut state = self.state.lock();
            match state.messages.front() {
                None => return fail(Errno::ENODATA),
                Some(first) if first.len() > to.left() => return fail(Errno::EMSGSIZE),
                Some(_) => state.messages.pop_front().unwrap_or_default(),
            }
        };
        to.put(message.as_bytes())
    }
    fn label(&self) -> Option<String> {
        Some("anon_inode:[fscontext]".into())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

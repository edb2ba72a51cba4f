//! Root, working folder and umask: what CLONE_FS shares. chroot(2), chdir(2), umask(2).

use crate::locks::FsContextState;
use crate::vfs::{Base, Path};
use lock::Mutex;

/// The file system context of one or more tasks.
pub struct FsContext {
    state: Mutex<State, FsContextState>,
}

#[derive(Clone)]
struct State {
    root: Path,
    cwd: Path,
    umask: u32,
}

impl FsContext {
    pub fn new(root: Path, cwd: Path, umask: u32) -> FsContext {
        FsContext { state: Mutex::new(State { root, cwd, umask }) }
    }
    pub fn copy(&self) -> FsContext {
        FsContext { state: Mutex::new(self.state.lock().clone()) }
    }
    pub fn root(&self) -> Path {
        self.state.lock().root.clone()
    }
    pub fn cwd(&self) -> Path {
        self.state.lock().cwd.clone()
    }
    /// Where path walks begin: root and working folder.
    pub fn base(&self) -> Base {
        let state = self.state.lock();
        Base { root: state.root.clone(), at: state.cwd.clone() }
    }
    pub fn umask(&self) -> u32 {
        self.state.lock().umask
    }
    /// Returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        std::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }
    pub fn set_root(&self, root: Path) {
        let old = std::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }
    pub fn set_cwd(&self, cwd: Path) {
        let old = std::mem::replace(&mut self.state.lock().cwd, cwd);
        drop(old);
    }
}

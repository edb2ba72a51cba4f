//! A gofer as a thread of the test, over a folder of its own.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod mounted;

use fsproto::{Channel, Client, Gofer, Handle, MountId, Part};
use gofer::{Maker, MountSource, Peers, Server, Source, Store};
use host::HostFd;
use host::file::SelfFd;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stockade-gofer-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves `path` from threads of this process.
pub fn serve(path: &Path, readonly: bool, descriptors: u64) -> Client {
    Client::connect(HostFd::new(serve_raw(path, readonly, descriptors).0)).unwrap()
}

/// As `serve`: the kernel process' end of the first channel, and the thread at its other end.
pub fn serve_raw(path: &Path, readonly: bool, descriptors: u64) -> (OwnedFd, JoinHandle<Result<(), abi::Errno>>) {
    let fd = host::file::open_path(path).unwrap();
    let source = MountSource { id: MountId::new("test", Part::Root), path: path.into(), readonly, store: None };
    // Without the rights that this takes: none, and all goes by the gofer.
    let folder = Maker::new(true).make(&source);
    let store = (!readonly).then(|| Store::open(path).ok()).flatten();
    let source = Source { source, fd, folder, store };
    let peers = Peers { fifo: true, connect: true, bind: true };
    let server = Arc::new(Server::new(vec![source], SelfFd::PROC, descriptors, peers).unwrap());
    let (ours, theirs) = host::message::pair().unwrap();
    let first = std::thread::spawn({
        let server = server.clone();
        move || {
            let grow = || {
                let (ours, theirs) = host::message::pair().unwrap();
                let server = server.clone();
                std::thread::spawn(move || server.serve(Channel::new(HostFd::new(ours)), || Err(abi::Errno::EAGAIN)));
                Ok(theirs)
            };
            server.serve(Channel::new(HostFd::new(theirs)), grow)
        }
    });
    (ours, first)
}

pub fn root(client: &Client) -> Handle {
    client.mounts()[0].root
}

pub fn path(text: &str) -> Vec<&[u8]> {
    text.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect()
}

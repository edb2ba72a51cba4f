//! A container's terminal: a pseudo terminal of the kernel's joined to a host terminal, which is in raw mode.
//!
//! The relay runs on whatever thread is told of readiness, one at a time; it never sleeps. Where the host's side is slow, output stays in the
//! pair, whose writers wait. Locks: `FileState` around what is on its way.

use crate::tty::{self, Terminal};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::tty::Winsize;
use host::HostFd;
use kernel::cred::Cred;
use kernel::locks::FileState;
use kernel::reactor::{self, Watch};
use kernel::task::Task;
use kernel::vfs::{File, Mount, MountNs};
use kernel::wait::{self, Events, Link, Queue, Runnable, Wake};
use kernel::{Io, Kernel, Op};
use lock::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The relay between a host terminal and a pair; it lives as long as this is held.
pub struct Console {
    relay: Arc<Relay>,
    mount: Option<Arc<Mount>>,
}

struct Relay {
    terminal: Arc<Terminal>,
    host: Arc<HostFd>,
    moving: Mutex<Moving, FileState>,
    state: AtomicU8,
    links: OnceLock<(Watch, Link)>,
    /// Woken when all output has been handed to the host, or never will be.
    drained: Queue,
}

/// Bytes between the two.
#[derive(Default)]
struct Moving {
    /// Read from the host, not yet taken by the line discipline.
    typed: Vec<u8>,
    /// Taken from the pair, not yet written to the host.
    shown: Vec<u8>,
    /// The host's side is gone.
    closed: bool,
}

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const AGAIN: u8 = 2;
/// Bytes that are moved at once.
const CHUNK: usize = 16384;

impl Console {
    /// Joins `host` to a new pair in the devpts that `ns` shows; without one, to a pair that has no name. `host` becomes nonblocking: its
    /// description must be the container's alone. The pair's node belongs to `cred`; `/dev/console` of the container is the terminal.
    pub fn attach(
        kernel: &Arc<Kernel>,
        ns: &MountNs,
        container: u64,
        cred: &Cred,
        host: Arc<HostFd>,
        size: Option<(u16, u16)>,
    ) -> Op<Console> {
        host::stream::set_nonblocking(&host)?;
        let mount = tty::find_devpts(ns, None);
        let instance = mount.as_ref().and_then(|m| m.fs.ops.pts().cloned());
        let terminal = match &instance {
            Some(instance) => tty::new_pair(kernel, instance, cred)?,
            None => Terminal::new(kernel, 0),
        };
        terminal.unlock();
        tty::set_console(container, &terminal);
        let size = size.map(|(ws_row, ws_col)| Winsize { ws_row, ws_col, ..Winsize::default() });
        if let Some(size) = size.or_else(|| host::stream::winsize(&host).ok()) {
            terminal.resize(size);
        }
        let relay = Arc::new(Relay {
            terminal: terminal.clone(),
            host: host.clone(),
            moving: Mutex::new(Moving::default()),
            state: AtomicU8::new(IDLE),
            links: OnceLock::new(),
            drained: Queue::new(),
        });
        let target = Arc::new(Target(Arc::downgrade(&relay)));
        let watch = reactor::watch(&host, Events::IN | Events::OUT | Events::RDHUP, target.clone())?;
        let link = terminal.output_queue().add(Events::IN | Events::OUT, false, target);
        let _ = relay.links.set((watch, link));
        relay.clone().run();
        Ok(Console { relay, mount })
    }

    pub fn terminal(&self) -> &Arc<Terminal> {
        &self.relay.terminal
    }

    /// The slave, opened for reading and writing: standard input, output and error of the container's process, whose
    /// controlling terminal `make_controlling` makes it.
    pub fn open_slave(&self, io: &mut Io<'_>) -> Op<Arc<File>> {
        let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
        let terminal = self.terminal();
        let place = match &self.mount {
            Some(mount) => tty::slave_path(io, mount, terminal.index)?,
            None => None,
        };
        let ops = terminal.open_slave(io, flags)?;
        Ok(match place {
            Some((path, inode)) => File::opened(path, inode, ops, flags),
            None => File::anonymous(ops, flags),
        })
    }

    /// Makes the terminal the controlling one of `task`'s session, whose group comes to the foreground.
    pub fn make_controlling(&self, task: &Arc<Task>) -> Op<()> {
        let mut done = 0;
        let io = Io::new(task.cred(), Some(task.clone()), None, &mut done);
        self.terminal().make_controlling(&io, false, true)
    }

    /// The user's window changed.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.relay.terminal.resize(Winsize { ws_row: rows, ws_col: cols, ..Winsize::default() });
    }

    /// Hands over as much output as the host takes now: before the sandbox ends. True when nothing is left.
    pub fn flush(&self) -> bool {
        self.relay.clone().run();
        let left = self.relay.moving.lock();
        left.closed || left.shown.is_empty() && self.relay.terminal.output_len() == 0
    }

    /// Woken (OUT) when the output has been handed over.
    pub fn drained(&self) -> &Queue {
        &self.relay.drained
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.relay.clone().run();
        self.relay.close();
    }
}

/// What the reactor and the pair wake. It may be called under locks, so the relay itself runs later, from the run queue.
struct Target(Weak<Relay>);

impl Wake for Target {
    fn wake(self: Arc<Self>, _events: Events) {
        if let Some(relay) = self.0.upgrade() {
            wait::enqueue(relay);
        }
    }
}

impl Runnable for Relay {
    /// One thread at a time relays; another one that comes meanwhile makes it look again.
    fn run(self: Arc<Self>) {
        if self.state.swap(AGAIN, Ordering::AcqRel) != IDLE {
            return;
        }
        loop {
            self.state.store(RUNNING, Ordering::Release);
            self.relay();
            if self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }
}

impl Relay {
    fn relay(&self) {
        let mut moving = std::mem::take(&mut *self.moving.lock());
        let mut buffer = vec![0; CHUNK];
        while !moving.closed {
            let mut moved = false;
            if moving.typed.is_empty() {
                match host::stream::read(&self.host, &mut buffer) {
                    Ok(0) => moving.closed = true,
                    Ok(count) => moving.typed.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                    Err(Errno::EAGAIN) => {}
                    // The other side of the host's pair is closed.
                    Err(_) => moving.closed = true,
                }
            }
            if !moving.typed.is_empty() {
                let took = self.terminal.type_in(&moving.typed);
                moving.typed.drain(..took.min(moving.typed.len()));
                moved |= took > 0;
            }
            if moving.shown.is_empty() {
                moving.shown = self.terminal.take_output(CHUNK);
            }
            if !moving.shown.is_empty() {
                match host::stream::write(&self.host, &moving.shown) {
                    Ok(count) => {
                        moving.shown.drain(..count.min(moving.shown.len()));
                        moved |= count > 0;
                    }
                    Err(Errno::EAGAIN) => {}
                    Err(_) => moving.closed = true,
                }
            }
            if !moved {
                break;
            }
        }
        let (closed, empty) = (moving.closed, moving.shown.is_empty());
        *self.moving.lock() = moving;
        if closed {
            self.close();
        }
        if closed || empty {
            self.drained.wake(Events::OUT);
        }
    }

    /// The terminal hangs up: the session gets SIGHUP.
    fn close(&self) {
        self.terminal.hang_up();
    }
}

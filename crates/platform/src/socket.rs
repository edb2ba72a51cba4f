//! The doorbell without a listener: messages on a socket, whose senders the host names. They are made into notifications, so that all else is as with a listener.
//!
//! Who rings is a thread of the process that the host names; which one, its cookie says. Between threads of a process there is no boundary. A thread waits for its answer in
//! its mailbox, so every doorbell finds it parked. Neighbours: `shard` (goes on with the notification), `tracer` (says who a newborn is), the stub's socket.rs. Owns the lock of the table of cookies.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use abi::Errno;
use host::seccomp::bpf::ARCH_X86_64;
use host::seccomp::notify::{self, Notification};

use crate::core::Kind;
use crate::layout::{DOORBELL, TEXT, bell};
use crate::outgoing::{Out, queue};
use crate::shard::Shard;
use crate::state::At;
use crate::sync::{Cookies, Mutex, lock};
use crate::thread::Thread;
use crate::tracer::Tracer;

/// A shard's threads by cookie; empty if there is a listener.
#[derive(Default)]
pub(crate) struct Table(Mutex<HashMap<[u64; 2], Arc<Thread>>, Cookies>);

impl Table {
    pub fn add(&self, thread: &Arc<Thread>) {
        lock(&self.0).insert(thread.cookie, thread.clone());
    }

    pub fn remove(&self, cookie: [u64; 2]) {
        lock(&self.0).remove(&cookie);
    }
}

const WORDS: usize = 6;
const LEN: usize = WORDS * 8;

impl Shard {
    /// Waits for the next doorbell or direct notification, and handles it.
    pub(crate) fn receive(&'static self) -> Result<(), Errno> {
        if self.core.config.listener {
            return notify::recv(self.doorbell.as_fd()).map(|n| self.notified(&n));
        }
        let mut bytes = [0u8; LEN + 1];
        match host::message::receive_from(self.doorbell.as_fd(), &mut bytes) {
            Ok(Some((LEN, pid))) => {
                let mut words = [0; WORDS];
                for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *word = u64::from_le_bytes(*from);
                }
                self.rung(pid, words);
                Ok(())
            }
            Ok(Some((_, pid))) => {
                self.nonsense(pid, "a doorbell of a wrong length");
                Ok(())
            }
            Ok(None) => Err(Errno::EPIPE), // the zygote has ended, and all else with it
            Err(e) => Err(host::errno(e)),
        }
    }

    /// Where a thread is that has rung.
    pub(crate) fn at_bell(&self, id: u64) -> At {
        if self.core.config.listener { At::Bell { id } } else { At::Parked }
    }

    /// A doorbell of a thread of this process.
    fn rung(&'static self, pid: i32, words: [u64; WORDS]) {
        let [kind, c0, c1, ..] = words;
        let cookie = [c0, c1];
        let tid = match kind {
            bell::HELLO | bell::THREAD => {
                let tid = self.newborn(pid, cookie);
                if tid.is_some() {
                    Tracer::is_born(self.core, cookie);
                }
                tid
            }
            _ => {
                let thread = lock(&self.by_cookie.0).get(&cookie).cloned();
                match thread {
                    Some(thread) if thread.space.host_pid() == pid => {
                        thread.has_taken();
                        Some(thread.host_tid)
                    }
                    Some(_) => None,
                    None => self.zygote_pids().contains(&pid).then_some(pid),
                }
            }
        };
        let Some(tid) = tid else { return self.nonsense(pid, "a doorbell with a wrong cookie") };
        let data = libc::seccomp_data {
            nr: DOORBELL as i32,
            arch: ARCH_X86_64,
            instruction_pointer: self.core.region.base + TEXT,
            args: words,
        };
        self.notified(&Notification { id: 0, pid: tid as u32, flags: 0, data });
    }

    /// The host's id of the newborn that shows a cookie, if it is the one that the host told us of.
    fn newborn(&self, pid: i32, cookie: [u64; 2]) -> Option<i32> {
        let newborns = lock(&self.core.newborns);
        let newborn = newborns.get(&cookie)?;
        let tid = newborn.tid?;
        let its_process = match newborn.kind {
            Kind::Thread { .. } => newborn.parent.as_ref()?.space.host_pid(),
            _ => tid,
        };
        (its_process == pid).then_some(tid)
    }

    /// Whoever sent this does not keep to the protocol. It is killed if it is one of this shard's processes now: their messages come in order, so it is not one that has
    /// ended, and whose number came back.
    fn nonsense(&self, pid: i32, what: &str) {
        let space = lock(&self.core.spaces).get(&pid).cloned();
        let known = match space {
            Some(space) => space.is_of(self),
            None => lock(&self.core.newborns).values().any(|n| n.tid == Some(pid)),
        };
        if known {
            self.core.violation(pid, what);
            queue(Out::Kill(pid));
        }
    }
}

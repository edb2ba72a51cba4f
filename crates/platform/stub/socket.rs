//! The doorbell without a listener: a message on a socket that all stub processes of a shard share, and a wait in the mailbox for the answer.
//!
//! The host tells the kernel process who sent a message; nothing is ever sent the other way. Files come by another socket, which each process makes for itself.
//! Neighbours: `start` (first doorbells), `handler`. Owns no locks.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::layout::{MAX_FDS, bell};
use crate::{Private, mailbox, put, sys};

const RECVMSG: u64 = 47;
const SENDTO: u64 = 44;
const SOCKETPAIR: u64 = 53;
const AF_UNIX: u64 = 1;
/// SOCK_SEQPACKET | SOCK_CLOEXEC
const KIND: u64 = 0x8_0005;
const MSG_NOSIGNAL: u64 = 0x4000;
const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;
/// Number of the doorbell's socket in every stub process.
const DOORBELL: u64 = 0;

/// Two connected sockets, or an error.
pub fn pair() -> Result<[u32; 2], i64> {
    let mut ends = [0u32; 2];
    // SAFETY: the host writes the two numbers.
    let r = unsafe { sys::call(SOCKETPAIR, [AF_UNIX, KIND, 0, ends.as_mut_ptr() as u64, 0, 0]) };
    // SAFETY: a local.
    if r < 0 { Err(r) } else { Ok(unsafe { core::ptr::read_volatile(&raw const ends) }) }
}

/// Sends a doorbell, without waiting for an answer. Does not return when there is no kernel process any more.
///
/// # Safety
/// `p` is this thread's private page.
pub unsafe fn tell(p: *mut Private, kind: u64, a: u64, b: u64) {
    // SAFETY: by the caller; the host reads the words.
    unsafe {
        (*p).seq += 1;
        let words = [kind, (*p).cookie[0], (*p).cookie[1], a, b, (*p).seq];
        let message = [DOORBELL, words.as_ptr() as u64, size_of_val(&words) as u64, MSG_NOSIGNAL, 0, 0];
        loop {
            match sys::call(SENDTO, message) {
                -4 => {}
                r if r < 0 => sys::exit_group(38),
                _ => return,
            }
        }
    }
}

/// Rings, and waits until the mailbox has the answer.
///
/// # Safety
/// `p` is this thread's private page, and its mailbox is mapped.
pub unsafe fn ring(p: *mut Private, kind: u64, a: u64, b: u64) {
    // SAFETY: by the caller.
    unsafe {
        (*mailbox(p)).park.store(0, Relaxed); // what another thread left there
        tell(p, kind, a, b);
        answer(p);
    }
}

/// Waits until the mailbox has an answer.
///
/// # Safety
/// As `ring`.
pub unsafe fn answer(p: *mut Private) {
    // SAFETY: by the caller.
    unsafe {
        let mb = mailbox(p);
        while (*mb).park.load(Acquire) == 0 {
            sys::futex_wait((&raw const (*mb).park).cast(), 0);
        }
        (*mb).park.store(0, Release);
    }
}

/// HELLO of a new process, which has made the socket for its files: the memory file with its mailboxes comes by that. Returns its number, or an error.
///
/// # Safety
/// In a new process that holds nothing but the doorbell's socket; `p` is its thread's private page.
pub unsafe fn hello(p: *mut Private) -> i64 {
    // SAFETY: by the caller.
    unsafe {
        let [own, other] = match pair() {
            Ok(ends) => ends,
            Err(r) => return r,
        };
        (*p).files = own as u64;
        tell(p, bell::HELLO, other as u64, 0);
        let mut files = [-1i32; MAX_FDS];
        receive(p, &mut files);
        sys::call(3, [other as u64, 0, 0, 0, 0, 0]);
        core::ptr::read_volatile(&raw const files[0]) as i64
    }
}

/// Receives the files that come before a script, and notes their numbers in the mailbox.
///
/// # Safety
/// As `ring`.
pub unsafe fn take_files(p: *mut Private) {
    // SAFETY: by the caller.
    unsafe {
        let mut files = [-1i32; MAX_FDS];
        receive(p, &mut files);
        let mut i = 0;
        while i < MAX_FDS {
            put!(mailbox(p), fds[i & (MAX_FDS - 1)], *files.as_ptr().add(i) as u32);
            i += 1;
        }
    }
}

/// One message of a byte and up to `MAX_FDS` descriptors; what does not come stays -1.
///
/// # Safety
/// As `ring`, without a need for the mailbox.
unsafe fn receive(p: *mut Private, files: &mut [i32; MAX_FDS]) {
    // Length; level and type; the numbers.
    const HEAD: usize = 16;
    const RIGHTS: u64 = 1 | 1 << 32; // SOL_SOCKET, SCM_RIGHTS
    // SAFETY: by the caller; the host writes into the buffers, whose sizes the header says.
    unsafe {
        let mut byte = 0u64;
        let part = [&raw mut byte as u64, 1];
        let mut control = [0u64; (HEAD + 4 * MAX_FDS) / 8];
        let control_len = size_of_val(&control) as u64;
        let mut header = [0, 0, part.as_ptr() as u64, 1, control.as_mut_ptr() as u64, control_len, 0];
        let message = [(*p).files, header.as_mut_ptr() as u64, MSG_CMSG_CLOEXEC, 0, 0, 0];
        while sys::call(RECVMSG, message) == -4 {}
        let control = (&raw const control).cast::<u64>();
        let len = control.read_volatile() as usize;
        if control.add(1).read_volatile() != RIGHTS || len < HEAD {
            return;
        }
        let count = ((len - HEAD) / 4).min(MAX_FDS);
        let numbers = control.add(2).cast::<i32>();
        let mut i = 0;
        while i < count {
            *files.as_mut_ptr().add(i) = numbers.add(i).read_volatile();
            i += 1;
        }
    }
}

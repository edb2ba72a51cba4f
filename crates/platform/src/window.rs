//! The data window: what a trampoline copied out of guest memory before it asked, and what it will copy there after the answer (stub/trampoline.rs).
//!
//! It is open while a worker runs a call that came through a trampoline, for the first time: until the kernel closes it or, where the call goes on otherwise than by a value, settles it. Reads of what
//! is there, and writes of what the trampoline found writable, need no call of the host meanwhile. What the window says is as hostile as guest memory: a guest can tell lies about its own memory only.
//! Neighbours: `space` (asks), `shard` and `poller` (open it). Owns no locks: it belongs to the worker's thread.

use std::cell::RefCell;
use std::sync::Arc;

use crate::layout::{MAX_OUTS, Piece, SMALL, SMALL_LEN, TOUCHED, WINDOW, WINDOW_LEN};
use crate::mailbox::once;
use crate::pointers;
use crate::space::Space;
use crate::thread::Thread;

/// Pieces start at multiples of this in the window.
const ALIGN: usize = 16;
/// The first one starts there or later: the stub copies slowly to a place in a page up to a cache line behind its source's, and guests' buffers begin at a page or 16 bytes behind.
const FIRST: usize = 256;

/// What a trampoline did before it asked: `in_len` bytes from `in_addr` on are at the start of the window; `out_len` from `out_addr` on can be written.
struct Given {
    in_addr: u64,
    in_len: usize,
    out_addr: u64,
    out_len: usize,
}

struct Open {
    thread: Arc<Thread>,
    given: Given,
    /// Bytes of the window in use.
    used: usize,
    out: Vec<Piece>,
    /// The bytes of the first piece, if it is small.
    small: [u8; SMALL_LEN],
    /// The call has its value: nothing comes here any more.
    closed: bool,
    /// The trampoline knows of `out`.
    shown: bool,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// A vector that is used again.
    spare: Vec<Piece>,
}

thread_local! {
    static CURRENT: RefCell<State> = RefCell::default();
}

/// Opens the window of a thread whose call came through a trampoline. `given`: `Mailbox::given`.
pub(crate) fn open(thread: &Arc<Thread>, nr: u32, args: &[u64; 6], given: u32) {
    if given == 0 {
        return;
    }
    let (in_addr, (out_addr, out_len)) = pointers::ranges(nr, args);
    let in_len = (given & !TOUCHED & 0xffff) as usize; // all that fits
    let out_len = if given & TOUCHED != 0 { out_len } else { 0 };
    let (given, used) = (Given { in_addr, in_len, out_addr, out_len }, in_len);
    thread.wrote(used);
    if used == 0 && out_len == 0 || !thread.core.config.window {
        return;
    }
    CURRENT.with_borrow_mut(|state| {
        let out = std::mem::take(&mut state.spare);
        state.open =
            Some(Open { thread: thread.clone(), given, used, out, small: [0; SMALL_LEN], closed: false, shown: false });
    });
}

/// The call has its value, or is run again: what was written goes with the answer, all else goes the ordinary way.
pub fn close_window() {
    CURRENT.with_borrow_mut(|state| {
        if let Some(open) = &mut state.open {
            open.closed = true;
        }
    });
}

/// The first run of the call is over.
pub(crate) fn end() {
    CURRENT.with_borrow_mut(|state| {
        if let Some(mut open) = state.open.take() {
            open.show();
            open.thread.wrote(open.used);
            open.out.clear();
            state.spare = open.out;
        }
    });
}

/// The thread is about to be answered.
pub(crate) fn answers(thread: &Thread) {
    CURRENT.with_borrow_mut(|state| {
        if let Some(open) = state.open.as_mut().filter(|open| std::ptr::eq(&*open.thread, thread)) {
            open.show();
        }
    });
}

/// The call waits, or its answer is another than a value: what was written is brought to guest memory now.
pub fn settle_window() {
    CURRENT.with_borrow_mut(|state| {
        if let Some(open) = &mut state.open {
            open.bring();
        }
    });
    close_window();
}

/// The thread of this space whose call came through a trampoline and is run here for the first time.
pub(crate) fn caller(space: &Space) -> Option<Arc<Thread>> {
    with(space, |open| Some(open.thread.clone()))
}

/// Reads guest memory out of the window; false if it is not all there.
pub(crate) fn read(space: &Space, addr: u64, into: &mut [u8]) -> bool {
    with(space, |open| {
        let Some(offset) = within(addr, into.len(), open.given.in_addr, open.given.in_len) else {
            open.bring_if_met(addr, into.len());
            return false;
        };
        open.thread.mailbox.window.read(offset, into) == into.len()
    })
}

/// What the window has from an address on, `into.len()` bytes at most; 0: nothing.
pub(crate) fn prefix(space: &Space, addr: u64, into: &mut [u8]) -> usize {
    with(space, |open| {
        let Some(offset) = within(addr, 1, open.given.in_addr, open.given.in_len) else { return 0 };
        let len = into.len().min(open.given.in_len - offset);
        into.get_mut(..len).map_or(0, |into| open.thread.mailbox.window.read(offset, into))
    })
}

/// Has the trampoline write guest memory; false if it will not.
pub(crate) fn write(space: &Space, addr: u64, from: &[u8]) -> bool {
    with(space, |open| {
        if meets(addr, from.len(), open.given.in_addr, open.given.in_len) {
            open.given.in_len = 0;
        }
        let at = open.used.next_multiple_of(ALIGN).max(FIRST);
        let fits = within(addr, from.len(), open.given.out_addr, open.given.out_len).is_some()
            && at + from.len() <= WINDOW_LEN as usize
            && open.out.len() < MAX_OUTS;
        if !fits {
            open.bring_if_met(addr, from.len());
            return false;
        }
        match from.len() {
            ..=SMALL_LEN if open.out.is_empty() => open.small.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
            _ => _ = open.thread.mailbox.window.write(at, from),
        }
        open.used = at + from.len();
        open.out.push(Piece { addr, offset: WINDOW as u32 + at as u32, len: from.len() as u32 });
        true
    })
}

fn with<T: Default>(space: &Space, f: impl FnOnce(&mut Open) -> T) -> T {
    CURRENT.with_borrow_mut(|state| match &mut state.open {
        Some(open) if !open.closed && std::ptr::eq(open.thread.space().as_ref(), space) => f(open),
        _ => T::default(),
    })
}

/// Offset of a range in another one that holds all of it.
fn within(addr: u64, len: usize, start: u64, held: usize) -> Option<usize> {
    let offset = addr.checked_sub(start)?;
    (offset.checked_add(len as u64)? <= held as u64).then_some(offset as usize)
}

fn meets(addr: u64, len: usize, other: u64, other_len: usize) -> bool {
    addr < other.saturating_add(other_len as u64) && other < addr.saturating_add(len as u64)
}

impl Open {
    /// Tells the trampoline what to copy. Not before the answer, with which it lies in one cache line: the stub looks at that all the time.
    fn show(&mut self) {
        let mailbox = self.thread.mailbox;
        if self.out.is_empty() || std::mem::replace(&mut self.shown, true) {
            return;
        }
        match &mut *self.out {
            [piece] if piece.len as usize <= SMALL_LEN => {
                piece.offset = SMALL as u32;
                mailbox.put_small(&self.small);
            }
            _ => self.put_first(),
        }
        for (i, piece) in self.out.iter().enumerate() {
            once!(put mailbox, out[i], *piece);
        }
        once!(put mailbox, outs, self.out.len() as u32);
    }

    /// Puts the first piece into the window, if it is small.
    fn put_first(&self) {
        if let Some(piece) = self.out.first()
            && let Some(small) = self.small.get(..piece.len as usize)
        {
            self.thread.mailbox.window.write((piece.offset - WINDOW as u32) as usize, small);
        }
    }

    /// What is to be written goes to guest memory now, if it meets a range that is about to be accessed there.
    fn bring_if_met(&mut self, addr: u64, len: usize) {
        if self.out.iter().any(|piece| meets(addr, len, piece.addr, piece.len as usize)) {
            self.bring();
        }
    }

    /// Writes all pieces to guest memory. What cannot be written any more is lost, as when a thread unmaps memory that another one reads into.
    fn bring(&mut self) {
        self.put_first();
        let mailbox = self.thread.mailbox;
        for piece in self.out.drain(..) {
            let mut bytes = vec![0; piece.len as usize];
            mailbox.window.read((piece.offset - WINDOW as u32) as usize, &mut bytes);
            let _ = self.thread.space().write(piece.addr, &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(within(0x1010, 4, 0x1000, 0x20), Some(0x10));
        assert_eq!(within(0x1010, 0x11, 0x1000, 0x20), None);
        assert_eq!(within(0xfff, 1, 0x1000, 0x20), None);
        assert_eq!(within(u64::MAX, 2, 0x1000, 0x20), None);
        assert!(meets(0x1000, 1, 0x1000, 1) && meets(0xfff, 2, 0x1000, 1));
        assert!(!meets(0xfff, 1, 0x1000, 1) && !meets(0x1001, 1, 0x1000, 1) && !meets(0x1000, 0, 0x1000, 1));
    }
}

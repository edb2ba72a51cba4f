//! Files that are lent to a thread: while one is, the trampoline of its pread64(2) reads the file that its process keeps for it (`kept`) without asking the kernel process.
//!
//! The kernel lends a descriptor, and takes it back before the descriptor stands for something else, or before anybody would have to be told of the read. What is not answered with all that was asked for comes
//! here. Neighbours: the stub's trampoline.rs (reads), `kept` (whose places these are; none goes to another file while it is lent). Owns no locks; takes the thread's state, then the table of places.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::layout::KEPT;
use crate::mailbox::once;
use crate::state::{At, Errand};
use crate::sync::lock;
use crate::thread::Thread;

/// More than this no thread has read; it keeps sums of what hostile stubs say in range.
const MOST: u64 = 1 << 52;

impl Thread {
    /// From now on it reads its descriptor `fd` by the number that the call which is open was told to read by. False: there is no such call, or it does already.
    pub fn lend(self: &Arc<Self>, number: u32, fd: u32) -> bool {
        let mut st = lock(&self.state);
        let Some(Errand::Read(place)) = st.errand else { return false };
        if number != KEPT + place as u32 || !matches!(st.at, At::Direct { .. } | At::Polled) {
            return false;
        }
        let (Some(word), Some(lent)) = (self.mailbox.lends().get(place), st.lends.get_mut(place)) else { return false };
        let fd = fd.wrapping_add(1);
        if std::mem::replace(lent, fd) == fd {
            return false;
        }
        word.store(fd, Ordering::Release);
        self.space.kept.is_lent(place, self);
        true
    }

    /// It asks from now on: about `fd`, if it was lent that by this number. A read that it has begun may still be under way.
    pub fn take_back_descriptor(&self, number: u32, fd: u32) {
        if let Some(place) = number.checked_sub(KEPT) {
            self.take_back(place as usize, Some(fd));
        }
    }

    /// As above, whatever descriptor it is.
    pub(crate) fn take_back(&self, place: usize, fd: Option<u32>) {
        let mut st = lock(&self.state);
        let (Some(word), Some(lent)) = (self.mailbox.lends().get(place), st.lends.get_mut(place)) else { return };
        if *lent == 0 || fd.is_some_and(|fd| *lent != fd.wrapping_add(1)) {
            return;
        }
        *lent = 0;
        // The mailbox of one that is gone may be another's.
        if !matches!(st.at, At::Gone) {
            word.store(0, Ordering::Release);
        }
        self.space.kept.is_taken_back(place, self);
    }

    /// So many reads it has made by itself, and bytes. The stub's word for it.
    pub fn lent_reads(&self) -> (u64, u64) {
        let st = lock(&self.state);
        let [calls, bytes] = if matches!(st.at, At::Gone) { [0; 2] } else { once!(get self.mailbox, reads) };
        (calls.min(MOST), bytes.min(MOST))
    }
}

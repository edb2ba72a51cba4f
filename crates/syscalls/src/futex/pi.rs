//! FUTEX_LOCK_PI, LOCK_PI2, TRYLOCK_PI, UNLOCK_PI: futex(2), "Priority-inheritance futexes".
//!
//! The word holds the owner's thread id, and FUTEX_WAITERS if somebody waits in the kernel, which the owner's unlocking then comes to. Words are swapped by the
//! caller's stub, so a call runs in rounds: read the word, say what is to become of it, swap, look again.

use super::Word;
use super::swap::Swap;
use abi::Errno;
use abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use kernel::task::Task;
use kernel::task::pi::{self, Reservation, Seen, Stand, Ticket};
use kernel::wait::{Events, Interrupt};
use kernel::{Call, Op, Restart, Ret, Stop, fail};
use std::sync::Arc;

/// Where a call that wants the futex stands.
pub(super) struct Locking {
    pub word: Word,
    pub ticket: Arc<Ticket>,
    /// And whether it takes the futex.
    swap: Option<(Swap, bool)>,
    pub queued: bool,
}

impl Locking {
    pub fn new(word: Word, task: &Arc<Task>) -> Locking {
        Locking { word, ticket: Ticket::new(task), swap: None, queued: false }
    }

    /// One round. What ends the call drops `self`.
    pub fn run(&mut self, call: &mut Call<'_>, try_only: bool) -> Op<Ret> {
        let me = call.task.tid() as u32;
        if let Some((swap, takes)) = self.swap.take() {
            let swapped = swap.was()? == swap.old;
            if swapped && takes {
                pi::granted(&self.word.key, &self.ticket);
            }
        }
        loop {
            if self.ticket.is_granted() {
                return Ok(().into());
            }
            if !self.ticket.is_reserved()
                && let Some(ret) = self.look(call, me, try_only)?
            {
                return Ok(ret);
            }
            if !self.ticket.is_granted() && !self.ticket.take_poke() {
                wait(call, &self.ticket)?;
            }
        }
    }

    /// None: it waits.
    fn look(&mut self, call: &Call<'_>, me: u32, try_only: bool) -> Op<Option<Ret>> {
        loop {
            let generation = pi::generation(&self.word.key);
            let word = self.word.read(call)?;
            let tid = word & FUTEX_TID_MASK;
            if tid == me && self.ticket.is_doubtful() {
                // Passed on by somebody who did not live to say so.
                pi::granted(&self.word.key, &self.ticket);
                return Ok(Some(().into()));
            }
            if tid == me && self.queued && generation != pi::generation(&self.word.key) {
                continue; // passed on just now
            }
            if self.ticket.is_granted() || self.ticket.is_reserved() {
                return Ok(None);
            }
            if tid == me {
                return fail(Errno::EDEADLK);
            }
            if tid != 0 && word & FUTEX_WAITERS == 0 {
                return Ok(Some(self.swap(word, word | FUTEX_WAITERS, false)));
            }
            let seen = Seen { owner: find(call, tid), named: tid != 0, generation };
            match pi::stand(&self.word.key, &self.ticket, seen, try_only)? {
                Stand::Again => {}
                Stand::Take { died, contended } => {
                    let mut new = me | word & FUTEX_OWNER_DIED;
                    if contended {
                        self.queued = true;
                        new |= FUTEX_WAITERS;
                    }
                    if died {
                        new |= FUTEX_OWNER_DIED;
                    }
                    return Ok(Some(self.swap(word, new, true)));
                }
                // Once more: it may have been unlocked before we were known to wait.
                Stand::Wait if !self.queued => self.queued = true,
                Stand::Wait => return Ok(None),
            }
        }
    }

    fn swap(&mut self, old: u32, new: u32, takes: bool) -> Ret {
        let (swap, ret) = Swap::start(self.word.addr, old, new);
        self.swap = Some((swap, takes));
        ret
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        if !self.ticket.is_granted() {
            pi::leave(&self.ticket, self.swap.as_ref().is_some_and(|s| s.1));
        }
    }
}

/// Blocks until the ticket is poked, unless the wait has to end. One that a futex is being passed to waits for that, whatever comes.
pub(super) fn wait(call: &mut Call<'_>, ticket: &Ticket) -> Op<()> {
    let interrupt = call.waits.interrupt;
    if interrupt == Interrupt::Kill || !ticket.is_reserved() {
        if interrupt != Interrupt::None {
            return Err(Stop::Restart(Restart::NoIntr));
        }
        if call.rec.deadline.is_some_and(|d| d.expired()) {
            return fail(Errno::ETIMEDOUT);
        }
    }
    call.waits.clear();
    call.waits.add(ticket.queue(), Events::IN);
    if call.waits.forced() {
        return Err(Stop::Block);
    }
    if ticket.take_poke() { Ok(()) } else { Err(Stop::Block) }
}

/// The thread that a word names.
pub(super) fn find(call: &Call<'_>, tid: u32) -> Option<Arc<Task>> {
    if tid == 0 { None } else { call.task.pid.ns()?.task(tid as i32) }
}

/// A thread's number as `call`'s task knows it.
pub(super) fn number(call: &Call<'_>, task: &Task) -> u32 {
    call.task.pid.ns().map_or(0, |ns| task.pid.number_in(&ns)) as u32
}

/// Whether a call that gave this answer is run again.
pub(super) fn goes_on(out: &Op<Ret>) -> bool {
    matches!(out, Ok(Ret::Stub(_)) | Err(Stop::Block))
}

pub(super) fn lock(call: &mut Call<'_>, addr: u64, private: bool, try_only: bool) -> Op<Ret> {
    let mut state = match call.rec.stage.take().map(|s| s.downcast::<Locking>()) {
        Some(Ok(state)) => state,
        _ => Box::new(Locking::new(Word::new(call, addr, private)?, call.task)),
    };
    let out = state.run(call, try_only);
    if goes_on(&out) {
        call.rec.stage = Some(state);
    }
    out
}

/// An unlocking whose swap is on its way.
struct Unlocking {
    word: Word,
    swap: Swap,
    /// Who gets the futex.
    heir: Option<Reservation>,
}

pub(super) fn unlock(call: &mut Call<'_>, addr: u64, private: bool) -> Op<Ret> {
    let me = call.task.tid() as u32;
    if let Some(Ok(mut state)) = call.rec.stage.take().map(|s| s.downcast::<Unlocking>()) {
        if let Some(heir) = &mut state.heir {
            heir.set_swapping(false);
        }
        let was = state.swap.was()?;
        match state.heir.as_ref().map(|h| h.ticket()) {
            Some(heir) if was == state.swap.old => pi::granted(&state.word.key, heir),
            None if was == state.swap.old => pi::freed(&state.word.key),
            Some(_) if was & FUTEX_TID_MASK != me => return fail(Errno::EINVAL),
            _ => return unlock_word(call, state.word, me),
        }
        return Ok(().into());
    }
    let word = Word::new(call, addr, private)?;
    unlock_word(call, word, me)
}

fn unlock_word(call: &mut Call<'_>, word: Word, me: u32) -> Op<Ret> {
    let old = word.read(call)?;
    if old & FUTEX_TID_MASK != me {
        return fail(Errno::EPERM);
    }
    let mut heir = pi::hand_over(&word.key, call.task)?;
    let new = heir.as_ref().map_or(0, |h| number(call, &h.ticket().task) | FUTEX_WAITERS);
    if let Some(heir) = &mut heir {
        heir.set_swapping(true);
    }
    let (swap, ret) = Swap::start(word.addr, old, new);
    call.rec.stage = Some(Box::new(Unlocking { word, swap, heir }));
    Ok(ret)
}

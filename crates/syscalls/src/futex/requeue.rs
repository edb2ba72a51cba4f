//! FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI: from a plain futex to a priority-inheriting one, without running in between. futex(2).
//!
//! Such waiters can only be requeued, not woken, so the kernel alone knows them, not the host's futexes.

use super::Word;
use super::pi::{Locking, find, goes_on, number, wait as wait_poked};
use super::swap::Swap;
use abi::Errno;
use abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use kernel::task::pi::{self, Reservation};
use kernel::{Call, Op, Ret, Stop, fail};

/// A waiter: on the first word, until it is requeued.
struct Waiting {
    first: Word,
    lock: Locking,
}

pub(super) fn wait(call: &mut Call<'_>, [first, second]: [u64; 2], private: bool, value: u32) -> Op<Ret> {
    let mut state = match call.rec.stage.take().map(|s| s.downcast::<Waiting>()) {
        Some(Ok(state)) => state,
        _ => {
            if first == second {
                return fail(Errno::EINVAL);
            }
            let (first, second) = (Word::new(call, first, private)?, Word::new(call, second, private)?);
            if first.key == second.key {
                return fail(Errno::EINVAL);
            }
            let state = Waiting { first, lock: Locking::new(second, call.task) };
            // Known before the word is read: who changes it and requeues after that finds us.
            pi::wait_for_requeue(&state.first.key, &state.lock.ticket, &state.lock.word.key);
            if state.first.read(call)? != value && !state.lock.ticket.is_requeued() && !state.lock.ticket.is_reserved()
            {
                return fail(Errno::EAGAIN);
            }
            Box::new(state)
        }
    };
    let out = state.run(call);
    if goes_on(&out) {
        call.rec.stage = Some(state);
    }
    out
}

impl Waiting {
    fn run(&mut self, call: &mut Call<'_>) -> Op<Ret> {
        loop {
            if self.lock.ticket.is_granted() {
                return Ok(().into());
            }
            if self.lock.ticket.is_requeued() {
                self.lock.queued = true;
                return match self.lock.run(call, false) {
                    // The value of the first word has long changed.
                    Err(Stop::Restart(_)) => fail(Errno::EAGAIN),
                    out => out,
                };
            }
            // Passed on by somebody who did not live to say so.
            if self.lock.ticket.is_doubtful() && self.lock.word.read(call)? & FUTEX_TID_MASK == call.task.tid() as u32 {
                pi::granted_from(&self.first.key, &self.lock.ticket);
                continue;
            }
            wait_poked(call, &self.lock.ticket)?;
        }
    }
}

/// A swap of the second word: to the first waiter, or only to show that somebody waits.
struct Requeueing {
    swap: Swap,
    heir: Option<Reservation>,
}

pub(super) fn requeue(
    call: &mut Call<'_>,
    [first, second]: [u64; 2],
    private: bool,
    wake: i32,
    most: i32,
    value: u32,
) -> Op<Ret> {
    if wake != 1 || most < 0 || first == second {
        return fail(Errno::EINVAL);
    }
    let (first, second) = (Word::new(call, first, private)?, Word::new(call, second, private)?);
    if first.key == second.key {
        return fail(Errno::EINVAL);
    }
    let most = most as usize;
    if let Some(Ok(mut state)) = call.rec.stage.take().map(|s| s.downcast::<Requeueing>()) {
        if let Some(heir) = &mut state.heir {
            heir.set_swapping(false);
        }
        let swapped = state.swap.was()? == state.swap.old;
        if let Some(heir) = state.heir.as_ref().map(|h| h.ticket()).filter(|_| swapped) {
            pi::granted_from(&first.key, heir);
            let moved = pi::requeue(&first.key, &second.key, &heir.task, most).unwrap_or(0);
            return Ok((1 + moved).into());
        }
    }
    if first.read(call)? != value {
        return fail(Errno::EAGAIN);
    }
    let Some(heir) = pi::first_to_requeue(&first.key, &second.key)? else { return Ok(0.into()) };
    let waiter = number(call, &heir.ticket().task);
    let word = second.read(call)?;
    let tid = word & FUTEX_TID_MASK;
    if tid == waiter {
        return fail(Errno::EDEADLK);
    }
    let owner = find(call, tid).filter(|o| !o.has_ended());
    let (new, mut heir) = match owner {
        _ if tid != 0 && word & FUTEX_WAITERS == 0 => (word | FUTEX_WAITERS, None),
        Some(owner) => {
            drop(heir);
            return Ok(pi::requeue(&first.key, &second.key, &owner, most.saturating_add(1))?.into());
        }
        None if tid != 0 => return fail(Errno::ESRCH),
        // Somebody is about to take it.
        None if pi::has_waiters(&second.key) => return fail(Errno::EAGAIN),
        None => (waiter | word & FUTEX_OWNER_DIED | if most > 0 { FUTEX_WAITERS } else { 0 }, Some(heir)),
    };
    if let Some(heir) = &mut heir {
        heir.set_swapping(true);
    }
    let (swap, ret) = Swap::start(second.addr, word, new);
    call.rec.stage = Some(Box::new(Requeueing { swap, heir }));
    Ok(ret)
}

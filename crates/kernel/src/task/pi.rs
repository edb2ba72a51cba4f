//! Who waits for a priority-inheriting futex, and who owns it: FUTEX_LOCK_PI and its like, futex(2).
//!
//! Only futexes that somebody waits for are known here; of the others the word in guest memory says all. Words are read and swapped by the callers
//! (`syscalls::futex`), outside of the lock: a swap that passes a futex on first *reserves* the waiter that gets it, so that this one neither times out nor is
//! interrupted meanwhile. The host schedules guests, so nobody runs with another's priority; the order of waiters is Linux': real-time priority, then
//! the order of their coming. Locks: `PiFutexes`. Neighbour: `exit` (tells of owners that end).

use super::Task;
use crate::locks::PiFutexes;
use crate::mm::Place;
use crate::wait::{Events, Queue};
use abi::Errno;
use lock::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, LazyLock};

/// The address of a futex word in an object, and whether it is a private futex.
pub type Key = (Place, bool);

const GENERATIONS: usize = 64;

/// As deep as Linux looks for a circle of owners and waiters (max_lock_depth).
const MAX_DEPTH: usize = 1024;

/// One waiter's place.
pub struct Ticket {
    pub task: Arc<Task>,
    queue: Queue,
    /// Something changed since it last looked.
    poked: AtomicBool,
    granted: AtomicBool,
    reserved: AtomicBool,
    /// FUTEX_WAIT_REQUEUE_PI: it waits for the second futex now.
    requeued: AtomicBool,
    /// Who was about to pass the futex on to it ended in the middle: the word tells whether it did.
    doubtful: AtomicBool,
}

impl Ticket {
    pub fn new(task: &Arc<Task>) -> Arc<Ticket> {
        Arc::new(Ticket {
            task: task.clone(),
            queue: Queue::new(),
            poked: AtomicBool::new(false),
            granted: AtomicBool::new(false),
            reserved: AtomicBool::new(false),
            requeued: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
        })
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }
    pub fn take_poke(&self) -> bool {
        self.poked.swap(false, AcqRel)
    }
    /// It owns the futex.
    pub fn is_granted(&self) -> bool {
        self.granted.load(Acquire)
    }
    /// Somebody is about to pass the futex to it.
    pub fn is_reserved(&self) -> bool {
        self.reserved.load(Acquire)
    }
    /// Whether the word may name it although nobody said so.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.load(Acquire)
    }
    pub fn is_requeued(&self) -> bool {
        self.requeued.load(Acquire)
    }

    fn poke(&self) {
        self.poked.store(true, Release);
        self.queue.wake(Events::IN);
    }

    fn grant(&self) {
        self.granted.store(true, Release);
        self.reserved.store(false, Release);
        self.poke();
    }

    /// Real-time priority; 0 for all others.
    fn priority(&self) -> u32 {
        self.task.sched().priority
    }
}

/// A waiter that a swap of a word is to pass a futex to.
pub struct Reservation {
    ticket: Arc<Ticket>,
    swapping: bool,
}

impl Reservation {
    fn of(ticket: &Arc<Ticket>) -> Reservation {
        ticket.reserved.store(true, Release);
        Reservation { ticket: ticket.clone(), swapping: false }
    }
    pub fn ticket(&self) -> &Arc<Ticket> {
        &self.ticket
    }
    /// The swap is on its way, or its outcome is known.
    pub fn set_swapping(&mut self, on: bool) {
        self.swapping = on;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.swapping {
            self.ticket.doubtful.store(true, Release);
        }
        self.ticket.reserved.store(false, Release);
        self.ticket.poke();
    }
}

/// A futex with waiters.
#[derive(Default)]
struct Futex {
    /// None: it died, or has unlocked it with nobody there to pass it on to.
    owner: Option<Arc<Task>>,
    died: bool,
    /// In the order of their coming.
    waiters: Vec<Arc<Ticket>>,
}

impl Futex {
    fn first(&self) -> Option<&Arc<Ticket>> {
        first(self.waiters.iter())
    }
    fn is_waiting(&self, ticket: &Arc<Ticket>) -> bool {
        self.waiters.iter().any(|w| Arc::ptr_eq(w, ticket))
    }
}

/// The waiter whose turn it is.
fn first<'a>(waiters: impl Iterator<Item = &'a Arc<Ticket>>) -> Option<&'a Arc<Ticket>> {
    waiters.fold(None, |best, next| match best {
        Some(best) if best.priority() >= next.priority() => Some(best),
        _ => Some(next),
    })
}

struct State {
    futexes: HashMap<Key, Futex>,
    /// FUTEX_WAIT_REQUEUE_PI: by the first futex, each with the second one.
    to_requeue: HashMap<Key, Vec<(Arc<Ticket>, Key)>>,
    /// By a hash of the key: counts what may have changed the words of futexes that are known here.
    generations: [u64; GENERATIONS],
}

static STATE: LazyLock<Mutex<State, PiFutexes>> = LazyLock::new(|| {
    Mutex::new(State { futexes: HashMap::new(), to_requeue: HashMap::new(), generations: [0; GENERATIONS] })
});

/// Where a task stands that wants a futex.
pub enum Stand {
    /// It may swap the word to itself. With `died`, its last owner ended without unlocking it. `contended`: others may wait.
    Take {
        died: bool,
        contended: bool,
    },
    Wait,
    /// The word may have changed since it was read.
    Again,
}

/// A word that is read after this is good for `stand` as long as this stays the same.
pub fn generation(key: &Key) -> u64 {
    *STATE.lock().generation(key)
}

fn is(owner: &Option<Arc<Task>>, task: &Arc<Task>) -> bool {
    owner.as_ref().is_some_and(|o| Arc::ptr_eq(o, task))
}

impl State {
    fn generation(&mut self, key: &Key) -> &mut u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &mut self.generations[hasher.finish() as usize % GENERATIONS]
    }

    /// Whether a task that waits for what `owner` holds would wait for itself.
    fn makes_circle(&self, owner: &Arc<Task>, waiter: &Arc<Task>) -> bool {
        let mut at = owner.clone();
        for _ in 0..MAX_DEPTH {
            if Arc::ptr_eq(&at, waiter) {
                return true;
            }
            // (One that has just taken a futex by its word is still in its line.)
            let waits = |f: &&Futex| !is(&f.owner, &at) && f.waiters.iter().any(|w| Arc::ptr_eq(&w.task, &at));
            let next = self.futexes.values().find(waits);
            let Some(owner) = next.and_then(|f| f.owner.clone()) else { return false };
            at = owner;
        }
        true
    }
}

/// What the word said.
pub struct Seen {
    /// None: nobody, or a thread that is no more, as `named` tells.
    pub owner: Option<Arc<Task>>,
    pub named: bool,
    /// From before it was read.
    pub generation: u64,
}

/// `ticket` wants the futex. `try_only`: EAGAIN instead of a wait.
pub fn stand(key: &Key, ticket: &Arc<Ticket>, seen: Seen, try_only: bool) -> Result<Stand, Errno> {
    let mut state = STATE.lock();
    if *state.generation(key) != seen.generation {
        return Ok(Stand::Again);
    }
    let named = seen.named;
    let passing = state.futexes.get(key).is_some_and(|f| f.waiters.iter().any(|w| w.is_reserved()));
    let owner = seen.owner.filter(|o| !o.has_ended());
    let Some(owner) = owner else {
        let Some(futex) = state.futexes.get_mut(key) else {
            return if named { Err(Errno::ESRCH) } else { Ok(Stand::Take { died: false, contended: false }) };
        };
        let died = futex.died || futex.owner.as_ref().is_some_and(|o| o.has_ended());
        if named && !died {
            return Err(Errno::ESRCH);
        }
        if !named && futex.owner.take().is_some() {
            futex.first().inspect(|first| first.poke());
        }
        let mine = futex.first().is_none_or(|first| Arc::ptr_eq(first, ticket) || first.priority() < ticket.priority());
        if mine && !passing {
            if !futex.is_waiting(ticket) {
                futex.waiters.push(ticket.clone());
            }
            return Ok(Stand::Take { died, contended: true });
        }
        if try_only {
            return Err(Errno::EAGAIN);
        }
        if !futex.is_waiting(ticket) {
            futex.waiters.push(ticket.clone());
        }
        return Ok(Stand::Wait);
    };
    if try_only {
        return Err(Errno::EAGAIN);
    }
    if state.makes_circle(&owner, &ticket.task) {
        return Err(Errno::EDEADLK);
    }
    let futex = state.futexes.entry(key.clone()).or_default();
    if !futex.is_waiting(ticket) {
        futex.waiters.push(ticket.clone());
    }
    // While it is being passed on, who does that keeps the books.
    let old = if passing { Some(owner) } else { futex.owner.replace(owner) };
    futex.died = false;
    drop(state);
    drop(old);
    Ok(Stand::Wait)
}

/// The word names the ticket's task now, by a swap of its own or another's.
pub fn granted(key: &Key, ticket: &Arc<Ticket>) {
    let mut state = STATE.lock();
    *state.generation(key) += 1;
    let mut gone = None;
    if let Some(futex) = state.futexes.get_mut(key) {
        futex.waiters.retain(|w| !Arc::ptr_eq(w, ticket));
        // A task that has ended meanwhile leaves it at once.
        let dead = ticket.task.has_ended();
        let old = std::mem::replace(&mut futex.owner, (!dead).then(|| ticket.task.clone()));
        futex.died = dead;
        gone = Some((old, None));
        if dead {
            futex.first().inspect(|first| first.poke());
        }
        if futex.waiters.is_empty() {
            gone = Some((None, state.futexes.remove_entry(key)));
        }
    }
    drop(state);
    ticket.grant();
    drop(gone);
}

/// The ticket waits no more. What it was first in line for goes to the next. `taking`: the word may name its task by now, which ends.
pub fn leave(ticket: &Arc<Ticket>, taking: bool) {
    let mut state = STATE.lock();
    let mut gone = Vec::new();
    for (key, futex) in &mut state.futexes {
        if futex.is_waiting(ticket) {
            futex.waiters.retain(|w| !Arc::ptr_eq(w, ticket));
            futex.died |= taking && futex.owner.is_none();
            match futex.first() {
                Some(next) if futex.owner.is_none() => next.poke(),
                Some(_) => {}
                None => gone.push(key.clone()),
            }
        }
    }
    for waiters in state.to_requeue.values_mut() {
        waiters.retain(|(w, _)| !Arc::ptr_eq(w, ticket));
    }
    let gone: Vec<_> = gone.iter().map(|key| state.futexes.remove_entry(key)).collect();
    let empty: Vec<Key> = state.to_requeue.iter().filter(|e| e.1.is_empty()).map(|e| e.0.clone()).collect();
    let empty: Vec<_> = empty.iter().map(|key| state.to_requeue.remove_entry(key)).collect();
    drop(state);
    drop((gone, empty));
}

/// `task` unlocks: the waiter to pass the futex to, None where nobody waits. EINVAL where the kernel knows another owner.
pub fn hand_over(key: &Key, task: &Arc<Task>) -> Result<Option<Reservation>, Errno> {
    let mut state = STATE.lock();
    *state.generation(key) += 1;
    let Some(futex) = state.futexes.get_mut(key) else { return Ok(None) };
    // It may have locked it by itself while the first in line was about to.
    if futex.owner.is_none() {
        futex.owner = Some(task.clone());
    }
    if !is(&futex.owner, task) {
        return Err(Errno::EINVAL);
    }
    Ok(futex.first().map(Reservation::of))
}

/// The word says that nobody owns the futex, by a swap that began when nobody waited for it.
pub fn freed(key: &Key) {
    let mut state = STATE.lock();
    *state.generation(key) += 1;
    let mut old = None;
    if let Some(futex) = state.futexes.get_mut(key) {
        old = futex.owner.take();
        futex.first().inspect(|first| first.poke());
    }
    drop(state);
    drop(old);
}

/// `task` ends, or execs: what it owns goes to the first in line.
pub fn owner_died(task: &Arc<Task>) {
    let Some(mut state) = LazyLock::get(&STATE).map(|s| s.lock()) else { return };
    let state = &mut *state;
    for futex in state.futexes.values_mut().filter(|f| is(&f.owner, task)) {
        // `task` keeps itself alive.
        futex.owner = None;
        futex.died = true;
        futex.first().inspect(|first| first.poke());
    }
    state.generations.iter_mut().for_each(|g| *g += 1);
}

/// FUTEX_WAIT_REQUEUE_PI: the ticket waits on `key`, to be requeued to `to`.
pub fn wait_for_requeue(key: &Key, ticket: &Arc<Ticket>, to: &Key) {
    STATE.lock().to_requeue.entry(key.clone()).or_default().push((ticket.clone(), to.clone()));
}

/// FUTEX_CMP_REQUEUE_PI: the first that waits on `key`, to pass `to` to it. EINVAL where that waits for another futex.
pub fn first_to_requeue(key: &Key, to: &Key) -> Result<Option<Reservation>, Errno> {
    let state = STATE.lock();
    let Some(waiters) = state.to_requeue.get(key) else { return Ok(None) };
    let Some(first) = first(waiters.iter().map(|w| &w.0)) else { return Ok(None) };
    let known = waiters.iter().any(|(w, wanted)| Arc::ptr_eq(w, first) && wanted == to);
    if known { Ok(Some(Reservation::of(first))) } else { Err(Errno::EINVAL) }
}

/// Whether somebody waits for a futex.
pub fn has_waiters(key: &Key) -> bool {
    STATE.lock().futexes.contains_key(key)
}

/// Moves up to `most` waiters from `key` to the futex `to`, which `owner` has, by their priority. Where one waits for another futex, or for what it owns, it ends with an error,
/// unless some were moved already.
pub fn requeue(key: &Key, to: &Key, owner: &Arc<Task>, most: usize) -> Result<usize, Errno> {
    let mut state = STATE.lock();
    let mut moved = 0;
    let mut error = None;
    while moved < most {
        let Some(waiters) = state.to_requeue.get(key) else { break };
        let Some(next) = first(waiters.iter().map(|w| &w.0)).cloned() else { break };
        if !waiters.iter().any(|(w, wanted)| Arc::ptr_eq(w, &next) && wanted == to) {
            error = Some(Errno::EINVAL);
            break;
        }
        if owner.has_ended() {
            error = Some(Errno::ESRCH);
            break;
        }
        if state.makes_circle(owner, &next.task) {
            error = Some(Errno::EDEADLK);
            break;
        }
        if let Some(waiters) = state.to_requeue.get_mut(key) {
            waiters.retain(|w| !Arc::ptr_eq(&w.0, &next));
        }
        next.requeued.store(true, Release);
        let futex = state.futexes.entry(to.clone()).or_default();
        if futex.owner.is_none() {
            futex.owner = Some(owner.clone());
        }
        futex.waiters.push(next.clone());
        next.poke();
        moved += 1;
    }
    drop(state);
    match error {
        Some(e) if moved == 0 => Err(e),
        _ => Ok(moved),
    }
}

/// FUTEX_CMP_REQUEUE_PI has passed the futex `to` to the ticket, which waited on `key`.
pub fn granted_from(key: &Key, ticket: &Arc<Ticket>) {
    let mut state = STATE.lock();
    let mut gone = None;
    if let Some(waiters) = state.to_requeue.get_mut(key) {
        gone = waiters.iter().position(|w| Arc::ptr_eq(&w.0, ticket)).map(|at| waiters.remove(at));
    }
    drop(state);
    ticket.requeued.store(true, Release);
    ticket.grant();
    drop(gone);
}

//! Long waits leave the list of open notifications, which the host walks at each RECV and SEND, and which no freezer may find full.
//!
//! Beyond `MOST_OPEN` on a listener, or after `LONG`, the oldest are answered PARK and wait in a futex on their mailbox. A direct notification is first called in by a
//! kick. Neighbours: `thread`, `keeper` (calls `park_old`). Uses the shard's list, whose lock is taken inside the thread's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::shard::Shard;
use crate::state::{At, State};
use crate::sync::lock;
use crate::thread::Thread;

const MOST_OPEN: usize = 64;
const LONG: Duration = Duration::from_millis(20);

fn now(core: &crate::core::Core) -> u64 {
    Instant::now().duration_since(core.keeper.origin).as_nanos() as u64
}

impl Thread {
    /// Puts the open notification on the shard's list, and parks the oldest if that is too long.
    pub(crate) fn note_blocked(&self) {
        let crowd = {
            let mut st = lock(&self.state);
            if st.open.is_some() || !matches!(st.at, At::Direct { .. } | At::Bell { .. }) {
                return;
            }
            let since = now(self.core);
            st.open = Some(since);
            let mut open = lock(&self.shard.open);
            open.insert((since, self.host_tid));
            open.len() > MOST_OPEN
        };
        if crowd {
            self.shard.park_oldest();
        }
        self.core.keeper.arm(self.core);
    }

    /// It waits in the futex, where no freezer minds it; or is gone.
    pub fn is_parked(&self) -> bool {
        matches!(lock(&self.state).at, At::Parked | At::Gone)
    }

    /// The request is answered: it is on the list no more.
    pub(crate) fn close(&self, st: &mut State) {
        if let Some(since) = st.open.take() {
            lock(&self.shard.open).remove(&(since, self.host_tid));
        }
    }

    /// Parks the thread now, if a request of it is open. Answers work as ever.
    pub fn park(&self) {
        let mut st = lock(&self.state);
        self.close(&mut st);
        match st.at {
            At::Direct { id } => self.call_in(&mut st, id, None),
            At::Bell { .. } => self.send_to_park(&mut st),
            _ => {}
        }
    }
}

impl Shard {
    fn take_oldest(&self, before: u64) -> Option<Option<Arc<Thread>>> {
        let mut open = lock(&self.open);
        let &(since, tid) = open.first()?;
        if since > before {
            return None;
        }
        open.remove(&(since, tid));
        drop(open);
        Some(self.thread(tid))
    }

    fn park_oldest(&self) {
        if let Some(Some(thread)) = self.take_oldest(u64::MAX) {
            thread.park();
        }
    }

    /// Parks what has waited for long; true if shorter waits are left.
    pub(crate) fn park_old(&self) -> bool {
        let before = now(self.core).saturating_sub(LONG.as_nanos() as u64);
        while let Some(thread) = self.take_oldest(before) {
            if let Some(thread) = thread {
                thread.park();
            }
        }
        !lock(&self.open).is_empty()
    }
}

//! A guest that waits to be born: dropped before, wherever that is, it learns that it never will be.
//!
//! Neighbours: `perform` (orders births), `birth`, `reaper`, `keeper` (end them). Owns no locks.

use std::sync::Arc;

use crate::guest::Guest;
use crate::outgoing::{Out, queue};
use crate::state::State;

pub struct Unborn(Option<Arc<dyn Guest>>);

impl Unborn {
    pub(crate) fn guest(&self) -> Option<Arc<dyn Guest>> {
        self.0.clone()
    }

    pub(crate) fn born(mut self) -> Option<Arc<dyn Guest>> {
        self.0.take()
    }

    /// It will not be born, which its parent is told by [`crate::Event::Done`] and does what is to be done; where that has been let go, the guest learns it itself.
    pub(crate) fn give_up(mut self, parent: &State) {
        if parent.guest.is_some()
            && let Some(guest) = self.0.take()
        {
            queue(Out::Forget(guest));
        }
    }
}

impl<G: Guest + 'static> From<Arc<G>> for Unborn {
    fn from(guest: Arc<G>) -> Unborn {
        Unborn(Some(guest))
    }
}

impl From<Arc<dyn Guest>> for Unborn {
    fn from(guest: Arc<dyn Guest>) -> Unborn {
        Unborn(Some(guest))
    }
}

impl Drop for Unborn {
    /// Later: locks may be held here.
    fn drop(&mut self) {
        if let Some(guest) = self.0.take() {
            queue(Out::Gone(guest));
        }
    }
}

//! The platform as a whole.

use std::sync::Arc;

use crate::config::{Config, Counters, StartError, Stats};
use crate::guest::Guest;

pub struct Platform {
    counters: Counters,
}

impl Platform {
    pub fn start(_config: Config) -> Result<Arc<Platform>, StartError> {
        Err(StartError::Host { step: "not yet built", errno: abi::Errno::ENOSYS })
    }
    pub fn run(self: &Arc<Self>) {}
    pub fn fresh(self: &Arc<Self>, _guest: Arc<dyn Guest>) {}
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }
}

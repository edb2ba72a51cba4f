//! `stockade pause` and `resume`: a container's tasks come to a halt, and all its host threads are parked, before anybody hears that it is paused.
//!
//! Neighbours: `machine`; `kernel::task::Freezer` does it. Owns no locks.

use super::container::Container;
use super::machine::settle;
use crate::machine::{Failure, Kind};
use std::time::{Duration, Instant};

/// A call in the middle of a host call comes to its end first (a slow disk); one that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub fn pause(container: &Container) -> Result<(), Failure> {
    container.shared.freezer.freeze(&groups(container));
    settle();
    let begun = Instant::now();
    loop {
        // Asked for anew each time: what was being born meanwhile is frozen too.
        let Some(task) = groups(container).iter().find_map(|group| group.unsettled()) else { return Ok(()) };
        if begun.elapsed() > PATIENCE {
            resume(container);
            let doing = match task.current_call() {
                Some((nr, _)) => format!("is in system call {nr}"),
                None => "runs".to_string(),
            };
            let text = format!(
                "container {} could not be paused: its thread {} {doing} for {} s already; it goes on, try again later",
                container.id,
                task.pid.number_in(&container.pid_ns),
                PATIENCE.as_secs(),
            );
            return Err(Failure::new(Kind::Other, text));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn resume(container: &Container) {
    container.shared.freezer.thaw();
    settle();
}

fn groups(container: &Container) -> Vec<std::sync::Arc<kernel::task::ThreadGroup>> {
    container.processes().into_iter().map(|(_, group)| group).collect()
}

//! Log, counters and trace points. Nothing but std below.
//!
//! The process sets its sink once (`log::set_sink`) and its level at any time; a message below the level costs one relaxed load.
//! Counters are statics that register themselves when first counted up, and can be listed.
//!
//! ```
//! observe::counter!(FORKS, "forks that guests made");
//! FORKS.add(1);
//! observe::info!("container {} started", "web");
//! assert!(observe::counters().iter().any(|c| c.name == "forks" && c.value == 1));
//! ```

mod counter;
pub mod log;

pub use counter::{Counter, Reading, counters};
pub use log::Level;

//! The log, and how often it takes what guests cause. Nothing but std below.
//!
//! The process sets its sink once (`log::set_sink`) and its level at any time; a message below the level costs one relaxed load.
//!
//! ```
//! observe::info!("container {} started", "web");
//! ```

pub mod allowance;
pub mod log;

pub use allowance::Allowance;
pub use log::Level;

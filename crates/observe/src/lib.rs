//! The log. Nothing but std below.
//!
//! The process sets its sink once (`log::set_sink`) and its level at any time; a message below the level costs one relaxed load.
//!
//! ```
//! observe::info!("container {} started", "web");
//! ```

pub mod log;

pub use log::Level;

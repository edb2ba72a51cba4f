//! Makes the kernel and implements [`Machine`] with it.
//!
//! [`Machine`]: crate::machine::Machine

use crate::machine::{BootContext, Failure, Kind, Prepared};

/// The first step of boot: see [`crate::machine::Boot`].
pub fn prepare(_context: BootContext) -> Result<Prepared, Failure> {
    Err(Failure::new(Kind::Unsupported, "this build has no kernel"))
}

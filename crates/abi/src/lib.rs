//! Linux' user ABI as Rust types: numbers, structs, flags and Errno.

mod errno;

pub use errno::Errno;

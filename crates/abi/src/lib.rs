//! Linux' user ABI as Rust types: numbers, structs, flags and Errno.

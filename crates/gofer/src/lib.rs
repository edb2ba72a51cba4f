//! The file server process and its lock-down.

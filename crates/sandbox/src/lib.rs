//! The kernel process: composition root, boot, control server, lock-down.

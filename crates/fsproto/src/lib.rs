//! The protocol between the kernel process and the gofer, both ends.

//! tmpfs, overlay, gofer, proc, sys, dev, devpts and the rest.

pub mod gofer;

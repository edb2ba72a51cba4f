//! The system call table and every handler, by family.

//! Terminals: pseudo terminal pairs with a line discipline, job control, /dev/tty, /dev/console. pty(7), ioctl_tty(2).
//!
//! `discipline` and `output` are the line discipline; `terminal` is a pair's common state; `master` and `slave` are its two sides as files;
//! `settings` are the ioctls that both sides know; `job` is job control; `open` finds terminals by device numbers.
//! Locks: `FileState` (a terminal's state); `TtyJob` is the kernel's. Signals are sent after the state is released.

mod discipline;
mod job;
mod master;
mod open;
mod output;
mod settings;
mod slave;
mod terminal;

pub use open::{find_devpts, new_pair, register, set_console, slave_path};
pub use terminal::Terminal;

//! Character devices: mem, tty.

//! inotify's watches on an inode, inotify(7).
#[derive(Default)]
pub struct Watches {}

//! Record locks and flocks of an inode, fcntl(2) and flock(2).
#[derive(Default)]
pub struct InodeLocks {}

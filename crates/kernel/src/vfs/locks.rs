//! Record locks and flocks of an inode, fcntl(2) and flock(2).
#[derive(Default)]
pub struct InodeLocks {}

impl InodeLocks {
    /// An open file description went: its flock and OFD locks go with it.
    pub fn release_file(&self, _file: u64) {}
}

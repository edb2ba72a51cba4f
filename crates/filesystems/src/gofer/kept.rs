//! Attributes as a node keeps them: without what its key says already, and packed, for there are as many as cached names.

use super::node::Key;
use fsproto::{Attr, Time};

/// `fsproto::Attr` in 96 bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    seconds: [i64; 4],
    nanoseconds: [u32; 4],
    size: u64,
    blocks: u64,
    mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    rdev: u32,
    blksize: u32,
    magic: u32,
    mount_root: bool,
    born: bool,
}

/// STATX_ATTR_MOUNT_ROOT.
const MOUNT_ROOT: u64 = 0x2000;

impl Kept {
    pub fn new(attr: &Attr) -> Kept {
        let times = [attr.atime, attr.mtime, attr.ctime, attr.btime.unwrap_or_default()];
        Kept {
            seconds: times.map(|time| time.sec),
            nanoseconds: times.map(|time| time.nsec),
            size: attr.size,
            blocks: attr.blocks,
            mode: attr.mode,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            // Linux' device numbers and magics have 32 bits.
            rdev: attr.rdev as u32,
            blksize: attr.blksize,
            magic: attr.magic as u32,
            mount_root: attr.is_mount_root(),
            born: attr.btime.is_some(),
        }
    }

    pub fn attr(&self, (dev, ino): Key) -> Attr {
        let [(a, an), (m, mn), (c, cn), (b, bn)] = [0, 1, 2, 3]
            .map(|at| (self.seconds.get(at).copied().unwrap_or(0), self.nanoseconds.get(at).copied().unwrap_or(0)));
        let time = |sec, nsec| Time { sec, nsec };
        Attr {
            ino,
            dev,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev.into(),
            size: self.size,
            blocks: self.blocks,
            blksize: self.blksize,
            attributes: if self.mount_root { MOUNT_ROOT } else { 0 },
            atime: time(a, an),
            mtime: time(m, mn),
            ctime: time(c, cn),
            btime: self.born.then(|| time(b, bn)),
            magic: self.magic.into(),
        }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn ctime(&self) -> Time {
        let [_, _, sec, _] = self.seconds;
        let [_, _, nsec, _] = self.nanoseconds;
        Time { sec, nsec }
    }

    pub fn magic(&self) -> u64 {
        self.magic.into()
    }

    pub fn is_mount_root(&self) -> bool {
        self.mount_root
    }

    /// Whether the host writes a read now down as the time of access: where that is before the last change, or a day ago (mount(8), relatime).
    pub fn counts_reads(&self, now: i64) -> bool {
        const DAY: i64 = 86_400;
        let time = |at: usize| (self.seconds.get(at), self.nanoseconds.get(at));
        time(0) <= time(1)
            || time(0) <= time(2)
            || self.seconds.first().is_none_or(|atime| now.saturating_sub(*atime) >= DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were() {
        let time = |sec, nsec| Time { sec, nsec };
        let attr = Attr {
            ino: 1 << 60,
            dev: 0xfe01,
            mode: 0o100_644,
            nlink: 3,
            uid: u32::MAX,
            gid: 7,
            rdev: 0x0501,
            size: 1 << 50,
            blocks: 1 << 40,
            blksize: 4096,
            attributes: MOUNT_ROOT,
            atime: time(-1, 999_999_999),
            mtime: time(1 << 40, 1),
            ctime: time(3, 4),
            btime: Some(time(5, 6)),
            magic: 0x9123_683e,
        };
        assert_eq!(Kept::new(&attr).attr((attr.dev, attr.ino)), attr);
        let plain = Attr { btime: None, attributes: 0, ..attr };
        assert_eq!(Kept::new(&plain).attr((attr.dev, attr.ino)), plain);
    }

    #[test]
    fn it_stays_small() {
        assert!(size_of::<Kept>() <= 96);
    }

    #[test]
    fn a_read_counts_once_after_a_change() {
        let time = |sec| Time { sec, nsec: 0 };
        let kept = |atime, mtime, ctime| {
            Kept::new(&Attr { atime: time(atime), mtime: time(mtime), ctime: time(ctime), ..Attr::default() })
        };
        assert!(kept(10, 10, 5).counts_reads(11));
        assert!(kept(10, 5, 10).counts_reads(11));
        assert!(!kept(10, 5, 5).counts_reads(11));
        assert!(kept(10, 5, 5).counts_reads(10 + 86_400));
    }
}

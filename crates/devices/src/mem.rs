//! The memory devices: null(4), zero(4), full(4), random(4). Major 1. No locks.

use abi::Errno;
use abi::fs::{OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET};
use abi::ioctl::{RNDADDENTROPY, RNDADDTOENTCNT, RNDCLEARPOOL, RNDGETENTCNT, RNDRESEEDCRNG, RNDZAPENTCNT};
use kernel::cred::Cap;
use kernel::io::UserMemory;
use kernel::vfs::{Backing, FileOps, FileType, Inode, Mappable, Position, Rights, register_device};
use kernel::{Io, Op, Sink, Source, fail};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

pub fn register() {
    for minor in [3, 5, 7, 8, 9] {
        register_device(FileType::Char, 1, minor..minor + 1, "mem", open);
    }
}

fn open(_io: &mut Io<'_>, _inode: &Arc<Inode>, rdev: u64, _flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    Ok(match abi::fs::minor(rdev) {
        3 => Arc::new(Null),
        5 => Arc::new(Zero { full: false }),
        7 => Arc::new(Zero { full: true }),
        8 | 9 => Arc::new(Random),
        _ => return fail(Errno::ENXIO),
    })
}

/// The devices have a position that nothing depends on: every seek leads to 0.
fn seek_nowhere(whence: u32) -> Op<u64> {
    if matches!(whence, SEEK_SET | SEEK_CUR | SEEK_END) { Ok(0) } else { fail(Errno::EINVAL) }
}

/// /dev/null.
struct Null;

impl FileOps for Null {
    fn position(&self) -> Position {
        Position::Own
    }
    fn read(&self, _io: &mut Io<'_>, _at: Option<u64>, _to: &mut dyn Sink) -> Op<usize> {
        Ok(0)
    }
    /// Takes all without looking at it: a bad address is no error here, as on Linux.
    fn write(&self, _io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        Ok(from.left())
    }
    fn seek(&self, _io: &mut Io<'_>, _offset: i64, whence: u32, _from: u64) -> Op<u64> {
        seek_nowhere(whence)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// /dev/zero, and /dev/full, which differs in writes alone.
struct Zero {
    full: bool,
}

static ZEROS: [u8; 65536] = [0; 65536];

/// From so many bytes on the reader's own process has the host clear its memory: faster than copies of ours.
const BULK: usize = ZEROS.len();

impl FileOps for Zero {
    fn position(&self) -> Position {
        Position::Own
    }
    fn read(&self, _io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if to.left() >= BULK
            && let Some(device) = host::zero::device()
            && let Some(taken) = to.take_from(device, 0, u64::MAX)
        {
            return Ok(taken);
        }
        let mut done = 0;
        while to.left() > 0 {
            let chunk = ZEROS.get(..to.left().min(ZEROS.len())).unwrap_or_default();
            match to.put(chunk) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            }
        }
        Ok(done)
    }
    fn write(&self, _io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        if self.full { fail(Errno::ENOSPC) } else { Ok(from.left()) }
    }
    fn seek(&self, _io: &mut Io<'_>, _offset: i64, whence: u32, _from: u64) -> Op<u64> {
        seek_nowhere(whence)
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        if self.full { None } else { Some(self) }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for Zero {
    fn backing(&self, _io: &mut Io<'_>, _range: Range<u64>, _rights: Rights) -> Op<Backing> {
        Ok(Backing::Anonymous)
    }
}

/// /dev/random and /dev/urandom: the host's generator, which is seeded before a sandbox can start.
struct Random;

impl FileOps for Random {
    fn position(&self) -> Position {
        Position::Own
    }
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let mut done = 0;
        let mut buffer = [0u8; 4096];
        while to.left() > 0 && (done == 0 || !io.interrupted()) {
            let Some(part) = buffer.get_mut(..to.left().min(4096)) else { break };
            let flags = host::rustix::rand::GetRandomFlags::NONBLOCK;
            let got = host::rustix::rand::getrandom(&mut *part, flags).map_err(host::errno)?;
            match to.put(part.get(..got).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            }
        }
        Ok(done)
    }
    /// Anyone may stir the pool. The generator is the host's, and needs no help: the data is read and let go.
    fn write(&self, _io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let mut done = 0;
        let mut buffer = [0u8; 4096];
        while from.left() > 0 {
            match from.take(&mut buffer) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            }
        }
        Ok(done)
    }
    fn seek(&self, _io: &mut Io<'_>, _offset: i64, whence: u32, _from: u64) -> Op<u64> {
        seek_nowhere(whence)
    }
    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        match cmd {
            RNDGETENTCNT => memory.write(arg, &256i32.to_le_bytes()).map(|()| 0),
            // All of these would change the host's pool.
            RNDADDTOENTCNT | RNDADDENTROPY | RNDZAPENTCNT | RNDCLEARPOOL | RNDRESEEDCRNG => {
                if io.cred.has(Cap::SysAdmin) { fail(Errno::EOPNOTSUPP) } else { fail(Errno::EPERM) }
            }
            _ => fail(Errno::ENOTTY),
        }
    }
    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

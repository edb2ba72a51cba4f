//! Event counters. eventfd(2). Locks: `FileState`.

use crate::io::{Io, Sink, Source};
use crate::locks::FileState;
use crate::op::{Op, fail};
use crate::vfs::{File, FileOps, Position};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::OpenFlags;
use lock::Mutex;
use std::any::Any;
use std::sync::Arc;

/// The largest value that a counter holds.
const MAX: u64 = u64::MAX - 1;

/// A counter.
pub struct EventFd {
    id: u64,
    count: Mutex<u64, FileState>,
    queue: Queue,
    /// EFD_SEMAPHORE: a read takes one.
    semaphore: bool,
}

/// eventfd2(2); `flags`: O_NONBLOCK.
pub fn new_eventfd(initial: u32, semaphore: bool, flags: OpenFlags) -> Arc<File> {
    let count = Mutex::new(initial.into());
    let ops = Arc::new(EventFd { id: crate::unique_id(), count, queue: Queue::new(), semaphore });
    File::anonymous(ops, flags | OpenFlags::RDWR)
}

impl EventFd {
    /// Adds to the counter as far as it goes, without waiting: for kernel-side notifiers (AIO, KVM-like users).
    pub fn signal(&self, value: u64) {
        let mut count = self.count.lock();
        *count = count.saturating_add(value).min(MAX);
        drop(count);
        self.queue.wake(Events::IN);
    }
}

impl FileOps for EventFd {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        if to.left() < 8 {
            return fail(Errno::EINVAL);
        }
        let value = io.wait_for(&self.queue, Events::IN, || {
            let mut count = self.count.lock();
            let take = if self.semaphore { (*count).min(1) } else { *count };
            *count -= take;
            Ok(Some(take).filter(|v| *v > 0))
        })?;
        self.queue.wake(Events::OUT);
        to.put(&value.to_le_bytes())
    }

    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        if from.left() != 8 {
            return fail(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if from.take(&mut bytes)? != 8 {
            return fail(Errno::EFAULT);
        }
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return fail(Errno::EINVAL);
        }
        io.wait_for(&self.queue, Events::OUT, || {
            let mut count = self.count.lock();
            if value > MAX - *count {
                return Ok(None);
            }
            *count += value;
            Ok(Some(()))
        })?;
        self.queue.wake(Events::IN);
        Ok(8)
    }

    fn ready(&self, want: Events) -> Events {
        let count = *self.count.lock();
        let mut is = Events::empty();
        is.set(Events::IN, count > 0);
        is.set(Events::OUT, count < MAX);
        is & want
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[eventfd]".into())
    }

    fn fdinfo(&self) -> String {
        let count = *self.count.lock();
        let semaphore = u8::from(self.semaphore);
        format!("eventfd-count: {count:16x}\neventfd-id: {}\neventfd-semaphore: {semaphore}\n", self.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};
    use crate::io::{SliceSource, VecSink};

    fn with_io<T>(f: impl FnOnce(&mut Io<'_>) -> T) -> T {
        let mut done = 0;
        f(&mut Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done))
    }

    fn read(file: &File) -> Op<u64> {
        let mut sink = VecSink { data: Vec::new(), max: 20 };
        with_io(|io| file.read(io, None, &mut sink))?;
        Ok(u64::from_le_bytes(sink.data.try_into().unwrap()))
    }

    fn write(file: &File, value: u64) -> Op<usize> {
        with_io(|io| file.write(io, None, &mut SliceSource::new(&value.to_le_bytes())))
    }

    #[test]
    fn counts() {
        let file = new_eventfd(3, false, OpenFlags::empty());
        assert_eq!(write(&file, 4), Ok(8));
        assert_eq!(read(&file), Ok(7));
        assert_eq!(read(&file), fail(Errno::EAGAIN));
        assert_eq!(write(&file, u64::MAX), fail(Errno::EINVAL));
        assert_eq!(write(&file, u64::MAX - 1), Ok(8));
        assert_eq!(file.ready(Events::OUT | Events::IN), Events::IN);
        assert_eq!(write(&file, 1), fail(Errno::EAGAIN));
    }

    #[test]
    fn semaphore() {
        let file = new_eventfd(2, true, OpenFlags::empty());
        assert_eq!((read(&file), read(&file), read(&file)), (Ok(1), Ok(1), fail(Errno::EAGAIN)));
    }
}

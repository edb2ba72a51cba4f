//! Files whose contents are made up: read-only texts, and knobs that can be written.
//!
//! Locks: `FileState` around the text of an open file, between two reads of it.

use abi::Errno;
use abi::fs::{OpenFlags, SEEK_END, SEEK_SET};
use kernel::locks::Leaf;
use kernel::vfs::{FileOps, Inode};
use kernel::wait::{Events, Queue};
use kernel::{Io, Op, Sink, Source, fail};
use lock::Mutex;
use std::any::Any;
use std::sync::Arc;

/// What is in a file.
pub trait Content: Send + Sync {
    /// The whole text, as it is now.
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>>;
    /// One write: all that was written by one call, from the file's beginning or not.
    fn write(&self, _io: &mut Io<'_>, _data: &[u8]) -> Op<()> {
        fail(Errno::EINVAL)
    }
    /// Operations of the file's own, and checks at open. None: read and write above.
    fn open(&self, _io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        Ok(None)
    }
    /// st_size, where it differs from the file system's usual one.
    fn size(&self) -> Option<u64> {
        None
    }
    /// Owner and group now, where they may change.
    fn owner(&self) -> Option<(u32, u32)> {
        None
    }
    /// Attributes that can be changed.
    fn owned(&self) -> Option<&dyn super::Owned> {
        None
    }
    /// It has an inode now, which lives as long as somebody uses the file.
    fn shown(&self, _inode: &Arc<Inode>) {}
    /// What is woken when the text changes (with ERR and PRI), for files that can be polled.
    fn queue(&self) -> Option<&Queue> {
        None
    }
    /// A number that changes with the text of a file that can be polled.
    fn generation(&self) -> u64 {
        0
    }
}

/// A text made by a function.
pub struct Text<F>(pub F);

impl<F: Fn(&mut Io<'_>) -> Op<Vec<u8>> + Send + Sync> Content for Text<F> {
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        (self.0)(io)
    }
}

/// A value that can be read and written.
pub struct Knob<R, W> {
    pub get: R,
    pub set: W,
}

impl<R, W> Content for Knob<R, W>
where
    R: Fn(&mut Io<'_>) -> Op<Vec<u8>> + Send + Sync,
    W: Fn(&mut Io<'_>, &[u8]) -> Op<()> + Send + Sync,
{
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        (self.get)(io)
    }
    fn write(&self, io: &mut Io<'_>, data: &[u8]) -> Op<()> {
        (self.set)(io, data)
    }
}

/// An open file with a text, for contents that are chosen at open.
pub fn open_text(content: Arc<dyn Content>) -> Arc<dyn FileOps> {
    Arc::new(TextFile::new(content))
}

/// An open file with a text.
pub(super) struct TextFile {
    content: Arc<dyn Content>,
    /// Made at the first read, and again by a read at the beginning: later reads go on in the same text.
    text: Mutex<Option<Arc<Vec<u8>>>, Leaf>,
    seen: Mutex<u64, Leaf>,
}

/// The longest that can be written to a knob at once.
const WRITE_MAX: usize = 64 << 10;

impl TextFile {
    pub(super) fn new(content: Arc<dyn Content>) -> TextFile {
        let seen = Mutex::new(content.generation());
        TextFile { content, text: Mutex::new(None), seen }
    }

    fn text(&self, io: &mut Io<'_>, at: u64) -> Op<Arc<Vec<u8>>> {
        let known = self.text.lock().clone();
        match known {
            Some(text) if at != 0 => Ok(text),
            _ => {
                *self.seen.lock() = self.content.generation();
                let text = Arc::new(self.content.read(io)?);
                *self.text.lock() = Some(text.clone());
                Ok(text)
            }
        }
    }
}

impl FileOps for TextFile {
    fn read(&self, io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let at = at.unwrap_or(0);
        let text = self.text(io, at)?;
        let rest = usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or_default();
        let part = rest.get(..rest.len().min(to.left())).unwrap_or_default();
        if part.is_empty() { Ok(0) } else { to.put(part) }
    }
    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let want = from.left();
        if want > WRITE_MAX {
            return fail(Errno::EINVAL);
        }
        let mut data = vec![0; want];
        let got = from.take(&mut data)?;
        data.truncate(got);
        self.content.write(io, &data)?;
        *self.text.lock() = None;
        Ok(got)
    }
    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        match whence {
            SEEK_SET => u64::try_from(offset).map_err(|_| Errno::EINVAL.into()),
            // The end of a text that is not made yet is nowhere, as in Linux' seq files.
            SEEK_END => fail(Errno::EINVAL),
            _ => fail(Errno::EINVAL),
        }
    }
    fn ready(&self, want: Events) -> Events {
        let mut have = want & (Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM);
        // A change is told once, as poll(2) of Linux' mounts does.
        if self.content.queue().is_some() {
            let now = self.content.generation();
            if std::mem::replace(&mut *self.seen.lock(), now) != now {
                have |= Events::ERR | want & Events::PRI;
            }
        }
        have
    }
    fn queue(&self) -> Option<&Queue> {
        self.content.queue()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

//! FIFOs: pipes that are opened by a path. fifo(7).
//!
//! An open counts as a reader or writer from its first run on, so that the other side's open finds it; while it waits, the end is
//! kept in the call's record, and goes with it when a signal ends the wait.

use super::{Pipe, PipeEnd};
use crate::io::Io;
use crate::op::{Op, Stop, fail};
use crate::vfs::{FileOps, Inode};
use crate::wait::Events;
use abi::Errno;
use abi::fs::OpenFlags;
use std::sync::Arc;

/// An open that waits for the other side.
struct Opening {
    end: Arc<PipeEnd>,
    /// How often the other side had been opened before.
    seen: u64,
}

/// open(2) of a FIFO; permissions have been checked. Also reopens a pipe through /proc/PID/fd.
///
/// Without O_NONBLOCK it waits for the other side; with it a reader does not wait, and a writer gets ENXIO where no reader is.
pub fn open_fifo(io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    if let Some(stream) = crate::ipc::host_stream::open_fifo(io, inode, flags)? {
        return Ok(stream);
    }
    let pipe = Pipe::of(inode)?;
    let (reads, writes) = match flags.bits() & 3 {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return fail(Errno::EINVAL),
    };
    // A pipe without a name, reopened by /proc/PID/fd: whoever made it may have closed the other end already.
    let nameless = inode.fs.ops.name() == "pipefs";
    let nonblock = flags.contains(OpenFlags::NONBLOCK);
    let kept = io.kept::<Opening>().filter(|o| Arc::ptr_eq(&o.end.pipe, &pipe) && o.end.writes == writes);
    let (end, seen) = match kept {
        Some(opening) => (opening.end.clone(), opening.seen),
        None => {
            let state = pipe.state.lock();
            if writes && !reads && nonblock && !nameless && state.readers == 0 {
                return fail(Errno::ENXIO);
            }
            let seen = if writes { state.reader_opens } else { state.writer_opens };
            drop(state);
            let end = PipeEnd::open(&pipe, reads, writes, flags, None);
            // Packets are for pipe2(2) and fcntl(2) to ask for.
            if flags.contains(OpenFlags::DIRECT) {
                return fail(Errno::EINVAL);
            }
            (end, seen)
        }
    };
    if nonblock || nameless || reads && writes {
        return Ok(end);
    }
    let came = || {
        let state = pipe.state.lock();
        let (there, opens) =
            if writes { (state.readers, state.reader_opens) } else { (state.writers, state.writer_opens) };
        Ok((there > 0 || opens != seen).then_some(()))
    };
    match io.wait_for(&pipe.opened, Events::IN | Events::OUT, came) {
        Ok(()) => Ok(end),
        Err(Stop::Block) => {
            io.keep(Box::new(Opening { end, seen }));
            Err(Stop::Block)
        }
        Err(stop) => Err(stop),
    }
}

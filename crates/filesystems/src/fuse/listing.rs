//! Open folders: readdir and readdirplus. fuse(4), getdents64(2).
//!
//! One answer of the server serves one getdents64(2), from the position on that the folder's file has. No locks.

use super::handle::Handle;
use super::node::Node;
use super::request::Ask;
use super::wire::{ENTRY, EntryOut, In, Out, good_name};
use abi::Errno;
use abi::fuse::*;
use kernel::Io;
use kernel::io::UserMemory;
use kernel::op::Op;
use kernel::vfs::{DirSink, FileOps, FileType};
use std::any::Any;
use std::sync::Arc;

/// Bytes that are asked for at a time.
const ROOM: u32 = 32 << 10;

/// Opens a folder.
pub(super) fn open(handle: Arc<Handle>) -> Arc<dyn FileOps> {
    Arc::new(OpenDir { handle })
}

struct OpenDir {
    handle: Arc<Handle>,
}

/// An entry of a listing.
pub(super) struct Listed {
    name: Box<[u8]>,
    ino: u64,
    kind: FileType,
    next: u64,
}

/// An entry with what a lookup would say.
pub(super) struct Plus {
    pub out: EntryOut,
    listed: Listed,
}

impl Plus {
    /// Whether the answer counts as one that names the node.
    pub fn counts(&self) -> bool {
        self.out.node != 0 && !matches!(&*self.listed.name, b"." | b"..")
    }
}

fn parse_entry(from: &mut In<'_>) -> Result<Option<Listed>, Errno> {
    let (ino, next, len, kind) = (from.u64()?, from.u64()?, from.u32()? as usize, from.u32()?);
    if len == 0 || len > 1024 {
        return Err(Errno::EIO);
    }
    // What does not fit ends the answer.
    if from.0.len() < len {
        return Ok(None);
    }
    let name = from.bytes(len)?;
    if !good_name(name) {
        return Err(Errno::EIO);
    }
    let padding = (len.next_multiple_of(8) - len).min(from.0.len());
    from.bytes(padding)?;
    let kind = FileType::from_mode(kind << 12).unwrap_or(FileType::Regular);
    Ok(Some(Listed { name: name.into(), ino, kind, next }))
}

/// The entries of a FUSE_READDIR up to one that cannot be; EIO where that is the first.
fn parse(reply: &[u8]) -> Result<Vec<Listed>, Errno> {
    let mut from = In(reply);
    let mut all = Vec::new();
    while from.0.len() >= 24 {
        match parse_entry(&mut from) {
            Ok(Some(entry)) => all.push(entry),
            Err(errno) if all.is_empty() => return Err(errno),
            _ => break,
        }
    }
    Ok(all)
}

/// As `parse`, of a FUSE_READDIRPLUS.
pub(super) fn parse_plus(reply: &[u8]) -> Result<Vec<Plus>, Errno> {
    let mut from = In(reply);
    let mut all = Vec::new();
    while from.0.len() >= ENTRY + 24 {
        let entry = EntryOut::read(&mut from).and_then(|out| Ok((out, parse_entry(&mut from)?)));
        match entry {
            Ok((out, Some(listed))) => all.push(Plus { out, listed }),
            Err(errno) if all.is_empty() => return Err(errno),
            _ => break,
        }
    }
    Ok(all)
}

impl OpenDir {
    /// The server's entries from a position on.
    fn ask(&self, io: &mut Io<'_>, from: u64) -> Op<Arc<Vec<Listed>>> {
        let node = &self.handle.node;
        let plus = node.conn.has(FUSE_DO_READDIRPLUS)
            && !node.conn.lacks(FUSE_READDIRPLUS)
            && (from == 0 || !node.conn.has(FUSE_READDIRPLUS_AUTO));
        let op = if plus { FUSE_READDIRPLUS } else { FUSE_READDIR };
        let args = Out::default().u64(self.handle.fh).u64(from).u32(ROOM).u32(0).u64(0).u32(self.handle.flags).u32(0);
        let ask = Ask { op, node: node.id, key: &args.0, reply: 0..=ROOM as usize };
        let body = || Ok(Out::request().bytes(&args.0));
        node.conn.ask(io, &ask, body, |request, answer| {
            let reply = answer?;
            let listed = if plus { take_plus(node, request.unique, &reply)? } else { parse(&reply)? };
            Ok(Arc::new(listed))
        })
    }
}

/// Remembers what a readdirplus says of names. An entry that cannot be is listed all the same, and looked up when somebody wants it.
fn take_plus(node: &Arc<Node>, unique: u64, reply: &[u8]) -> Result<Vec<Listed>, Errno> {
    let mut all = Vec::new();
    for entry in parse_plus(reply)? {
        if entry.counts() {
            match Node::found(&node.conn, &entry.out, unique) {
                Ok(inode) => node.remember(&entry.listed.name, Some(inode), entry.out.entry_until),
                Err(_) => node.conn.forget(entry.out.node, 1),
            }
        }
        all.push(entry.listed);
    }
    Ok(all)
}

impl FileOps for OpenDir {
    fn list(&self, io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        self.handle.node.usable(io)?;
        for entry in self.ask(io, from)?.iter() {
            if !to.entry(&entry.name, entry.ino, entry.kind, entry.next) {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self, io: &mut Io<'_>, data_only: bool) -> Op<()> {
        self.handle.sync(io, data_only)
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if !self.handle.node.conn.has(FUSE_HAS_IOCTL_DIR) {
            return kernel::fail(Errno::ENOTTY);
        }
        self.handle.ioctl(io, memory, cmd, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn entry(name: &[u8], next: u64) -> Out {
        let padding = vec![0; name.len().next_multiple_of(8) - name.len()];
        Out::default().u64(5).u64(next).u32(name.len() as u32).u32(4).bytes(name).bytes(&padding)
    }

    #[test]
    fn entries_end_where_the_answer_does() {
        let whole = entry(b"a", 1).bytes(&entry(b"longer-name", 2).0).0;
        let names: Vec<_> = parse(&whole).unwrap().into_iter().map(|e| (e.name.to_vec(), e.kind, e.next)).collect();
        assert_eq!(names, [(b"a".to_vec(), FileType::Dir, 1), (b"longer-name".to_vec(), FileType::Dir, 2)]);
        for cut in 33..whole.len() - 8 {
            assert_eq!(parse(whole.get(..cut).unwrap()).unwrap().len(), 1, "{cut}");
        }
        assert!(parse(&[]).unwrap().is_empty());
    }

    #[test]
    fn bad_names_are_refused() {
        for name in [&b"a/b"[..], b"a\0b", &[b'x'; 256], b""] {
            assert!(parse(&entry(name, 1).bytes(&[0; 32]).0).is_err(), "{name:?}");
        }
        let many = Out::default().u64(1).u64(1).u32(u32::MAX).u32(4).bytes(&[b'x'; 64]).0;
        assert!(parse(&many).is_err());
    }
}

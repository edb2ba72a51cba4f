//! Folders: blocks of entries, in the order of their names over all.

use super::image::{Image, number};
use super::inode::Meta;
use super::node::NodeOps;
use abi::Errno;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{DirOps, DirSink, FileOps, FileType, Inode, NewNode};
use std::any::Any;
use std::sync::Arc;

/// Bytes of an entry before its name: number, place of the name, type.
const ENTRY: usize = 12;

/// An entry of a block.
pub struct Entry<'a> {
    pub number: u64,
    /// None: the image does not say.
    pub kind: Option<FileType>,
    pub name: &'a [u8],
}

impl Image {
    /// The bytes of a folder's block.
    fn block(&self, dir: &Meta, index: u64) -> Op<Vec<u8>> {
        let start = index << self.block_bits();
        let len = dir.size.saturating_sub(start).min(self.block_size());
        let mut bytes = vec![0; len as usize];
        if self.read_data(dir, start, &mut bytes)? < bytes.len() {
            return fail(Errno::EUCLEAN);
        }
        Ok(bytes)
    }

    /// The number of a name in a folder.
    pub fn find(&self, dir: &Meta, name: &[u8]) -> Op<Option<u64>> {
        // The last block whose first name is not beyond the one wanted.
        let (mut low, mut high) = (0, dir.size.div_ceil(self.block_size()));
        while low < high {
            let middle = low + (high - low) / 2;
            let bytes = self.block(dir, middle)?;
            let list = entries(&bytes)?;
            let beyond = list.first().is_none_or(|first| first.name > name);
            if let Some(found) = list.iter().find(|entry| entry.name == name) {
                return Ok(Some(found.number));
            }
            if beyond {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(None)
    }
}

/// Takes a block of a folder apart. EUCLEAN where anything in it points out of it, or a name is none.
pub fn entries(block: &[u8]) -> Op<Vec<Entry<'_>>> {
    let place = |index: usize| number::<2>(block, index * ENTRY + 8).map(|at| at as usize);
    let first = place(0)?;
    if first < ENTRY || first % ENTRY != 0 || first > block.len() {
        return fail(Errno::EUCLEAN);
    }
    let count = first / ENTRY;
    let mut list = Vec::with_capacity(count);
    for index in 0..count {
        let start = place(index)?;
        let end = if index + 1 < count { place(index + 1)? } else { block.len() };
        let Some(mut name) = block.get(start..end).filter(|_| start >= first) else { return fail(Errno::EUCLEAN) };
        if index + 1 == count {
            // The last one ends at the block's end, or at a zero before it.
            name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        if name.is_empty() || name.len() > 255 || name.contains(&b'/') || name.contains(&0) {
            return fail(Errno::EUCLEAN);
        }
        let kind = match number::<1>(block, index * ENTRY + 10)? {
            1 => Some(FileType::Regular),
            2 => Some(FileType::Dir),
            3 => Some(FileType::Char),
            4 => Some(FileType::Block),
            5 => Some(FileType::Fifo),
            6 => Some(FileType::Socket),
            7 => Some(FileType::Symlink),
            _ => None,
        };
        list.push(Entry { number: number::<8>(block, index * ENTRY)?, kind, name });
    }
    Ok(list)
}

/// Nothing changes here, and the VFS knows (the file system is read-only).
impl DirOps for NodeOps {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        match self.shared.image.find(&self.meta, name)? {
            Some(number) => self.shared.inode(number).map(Some),
            None => Ok(None),
        }
    }

    fn create(&self, _io: &mut Io<'_>, _name: &[u8], _node: &NewNode<'_>) -> Op<Arc<Inode>> {
        fail(Errno::EROFS)
    }

    fn link(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn unlink(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn rmdir(&self, _io: &mut Io<'_>, _name: &[u8], _target: &Arc<Inode>) -> Op<()> {
        fail(Errno::EROFS)
    }

    fn rename(
        &self,
        _io: &mut Io<'_>,
        _name: &[u8],
        _moved: &Arc<Inode>,
        _new_dir: &Arc<Inode>,
        _new_name: &[u8],
        _victim: Option<&Arc<Inode>>,
        _flags: u32,
    ) -> Op<()> {
        fail(Errno::EROFS)
    }
}

/// An open folder. Positions are those of entries in its blocks: the entries before one in a block are fewer than the bytes before it.
pub struct OpenDir(pub NodeOps);

impl FileOps for OpenDir {
    fn list(&self, _io: &mut Io<'_>, from: u64, to: &mut dyn DirSink) -> Op<()> {
        let (image, meta) = (&self.0.shared.image, &self.0.meta);
        let (mut index, mut skip) = (from >> image.block_bits(), (from & (image.block_size() - 1)) as usize);
        while index << image.block_bits() < meta.size {
            let bytes = image.block(meta, index)?;
            let list = entries(&bytes)?;
            for (at, entry) in list.iter().enumerate().skip(skip) {
                let next = if at + 1 < list.len() {
                    index << image.block_bits() | (at as u64 + 1)
                } else {
                    (index + 1) << image.block_bits()
                };
                let kind = match entry.kind {
                    Some(kind) => kind,
                    None => image.inode(entry.number)?.kind,
                };
                if !to.entry(entry.name, entry.number, kind, next) {
                    return Ok(());
                }
            }
            index += 1;
            skip = 0;
        }
        Ok(())
    }

    fn seek(&self, _io: &mut Io<'_>, _offset: i64, _whence: u32, _from: u64) -> Op<u64> {
        fail(Errno::EINVAL)
    }

    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

//! /proc/PID/map_files: a link for each area that a file backs. proc_pid_map_files(5).

use super::super::access::may_read;
use super::{Subject, owner};
use crate::pseudo::{Folder, Listed, Node, Target as LinkTarget};
use abi::Errno;
use abi::mm::{PAGE_SIZE, Prot};
use kernel::cred::Cap;
use kernel::mm::MapsLine;
use kernel::vfs::{FileType, Link};
use kernel::{Io, Op, fail};
use std::ops::Range;

pub fn folder(subject: &Subject) -> Node {
    Node::folder(0o500, Files(subject.clone()))
}

struct Files(Subject);

/// The areas that files with a place back.
fn areas(io: &Io<'_>, subject: &Subject) -> Op<Vec<MapsLine>> {
    let target = subject.get().map_err(|_| Errno::ENOENT)?;
    may_read(io, &target.task)?;
    let mut lines = target.mm().map_or_else(Vec::new, |mm| mm.maps());
    lines.retain(|line| line.file.as_ref().is_some_and(|file| file.path.is_some()));
    Ok(lines)
}

/// `start-end` in hexadecimal digits without leading zeros.
fn range(name: &[u8]) -> Option<Range<u64>> {
    let (start, end) = std::str::from_utf8(name).ok()?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|n| format!("{n:x}") == text);
    Some(number(start)?..number(end)?)
}

impl Folder for Files {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let Some(wanted) = range(name) else { return Ok(None) };
        let Some(area) = areas(io, &self.0)?.into_iter().find(|area| area.range == wanted) else { return Ok(None) };
        let read = if area.prot.contains(Prot::READ) { 0o400 } else { 0 };
        let write = if area.prot.contains(Prot::WRITE) { 0o200 } else { 0 };
        let link = FileLink { subject: self.0.clone(), range: wanted };
        Ok(Some(Node { perm: read | write, ..Node::link(link) }))
    }
    fn entries(&self, io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let listed = |area: MapsLine| Listed {
            key: area.range.start / PAGE_SIZE,
            name: format!("{:x}-{:x}", area.range.start, area.range.end).into(),
            kind: FileType::Symlink,
            identity: 0,
        };
        Ok(areas(io, &self.0)?.into_iter().map(listed).collect())
    }
    fn volatile(&self) -> bool {
        true
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
}

struct FileLink {
    subject: Subject,
    range: Range<u64>,
}

impl LinkTarget for FileLink {
    /// A mapping may outlive the right to open its file: so only those who may open anything follow.
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        if !io.cred.has(Cap::SysAdmin) && !io.cred.has(Cap::CheckpointRestore) {
            return fail(Errno::EPERM);
        }
        let area = areas(io, &self.subject)?.into_iter().find(|area| area.range == self.range);
        let place = area.and_then(|area| area.file?.path.clone());
        place.map(Link::Magic).ok_or(Errno::ENOENT.into())
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        assert_eq!(range(b"400000-401000"), Some(0x40_0000..0x40_1000));
        for wrong in ["", "-", "400000", "0400000-401000", "400000-401000-", "+1-2", "4A-4B", "x-y"] {
            assert_eq!(range(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

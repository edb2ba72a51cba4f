//! How the map was before a memory call, should the stub fail at it.
//!
//! It is kept until the stub has failed, or until the thread's next call: unless asked to, the stub does not tell of success. Meanwhile
//! other threads unmap and close files, whose locks (flock(2)) and attachments (shmctl(2)) must end then. So `let_go` keeps no file open:
//! one that the map has still is only remembered, and one that it has lost makes the stub report. Neighbours: `work`, `state`.

use super::area::{Area, Content, FileContent};
use super::map::AreaMap;
use crate::vfs::File;
use std::ops::Range;
use std::sync::{Arc, Weak};

#[derive(Default)]
pub struct Undo {
    steps: Vec<Step>,
    pub(super) heap: Option<Range<u64>>,
}

/// What operation number `op` changes.
struct Step {
    op: u32,
    range: Range<u64>,
    old: Vec<Old>,
}

/// An area as it was. With `file`, that is its content, as long as somebody has it open.
struct Old {
    area: Area,
    file: Option<(Weak<File>, u64, bool)>,
}

impl Old {
    /// Remembers the area's file without keeping it open.
    fn forget(&mut self) {
        if let Content::File(f) = &self.area.content {
            self.file = Some((Arc::downgrade(&f.file), f.offset, f.local));
            self.area.content = Content::Anonymous;
        }
    }

    /// None where its file has gone: others have unmapped it since.
    fn area(&self) -> Option<Area> {
        let mut area = self.area.clone();
        if let Some((file, offset, local)) = &self.file {
            area.content = Content::File(FileContent { file: file.upgrade()?, offset: *offset, local: *local });
        }
        Some(area)
    }
}

impl Undo {
    pub(super) fn push(&mut self, op: u32, range: Range<u64>, old: Vec<Area>) {
        let old = old.into_iter().map(|area| Old { area, file: None }).collect();
        self.steps.push(Step { op, range, old });
    }

    /// Keeps no files open that `map` has still where they were, or next to it. Whether it keeps others.
    pub(super) fn let_go(&mut self, map: &AreaMap) -> bool {
        let mut keeps = false;
        for old in self.steps.iter_mut().flat_map(|step| &mut step.old) {
            match &old.area.content {
                Content::File(f) if map.has_near(&old.area.range, &f.file) => old.forget(),
                Content::File(_) => keeps = true,
                _ => {}
            }
        }
        keeps
    }

    /// The ranges changed by operations from number `failed` on, and what was there; last first.
    pub(super) fn steps_from(&self, failed: u32) -> impl Iterator<Item = (Range<u64>, Vec<Area>)> {
        let steps = self.steps.iter().rev().filter(move |step| step.op >= failed);
        steps.map(|step| (step.range.clone(), step.old.iter().filter_map(Old::area).collect()))
    }
}

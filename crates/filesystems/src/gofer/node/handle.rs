//! The handle of a file of the host: asked for by name where it has been given up, and used. Neighbours: the node, whose lock this takes.

use super::{MAX_DEPTH, Node};
use abi::Errno;
use fsproto::{Attr, Change, Changed, Gofer, Handle, WalkEnd, Walked};
use kernel::op::{Op, Stop, fail};

/// How often a handle is asked for whose folders' handles are given up at the same time.
const TRIES: usize = 8;
impl Node {
    /// Calls the gofer with this node's handle, and again with a new one where it was given up meanwhile.
    pub fn with_handle<T>(&self, ask: impl Fn(&dyn Gofer, Handle) -> Result<T, Errno>) -> Op<T> {
        let handle = self.handle()?;
        match self.shared.trip(|gofer| ask(gofer, handle)) {
            Err(Stop::Errno(Errno::EBADF)) => {
                let handle = self.fresh_handle(handle)?;
                self.shared.trip(|gofer| ask(gofer, handle))
            }
            answer => answer,
        }
    }

    /// The handle, asked for by name where there is none. ESTALE where the name is gone or stands for another file.
    pub fn handle(&self) -> Op<Handle> {
        for _ in 0..TRIES {
            match self.ask_for_handle() {
                // A folder above had its handle given up meanwhile. The root keeps its own.
                Err(Stop::Errno(Errno::EBADF)) => {}
                other => return other,
            }
        }
        fail(Errno::ESTALE)
    }

    /// Another handle in place of one that the gofer does not know any more.
    pub fn fresh_handle(&self, stale: Handle) -> Op<Handle> {
        self.state.lock().handle.take_if(|old| *old == stale);
        self.handle()
    }

    fn ask_for_handle(&self) -> Op<Handle> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let (mut at, first) = {
            let state = self.state.lock();
            if let Some(handle) = state.handle {
                return Ok(handle);
            }
            match &state.place {
                Some((parent, name)) => (parent.clone(), name.clone()),
                None => return fail(Errno::ESTALE),
            }
        };
        names.push(first);
        let from = loop {
            let parent = {
                let state = at.state.lock();
                if let Some(handle) = state.handle {
                    break handle;
                }
                match &state.place {
                    Some((parent, name)) if names.len() < MAX_DEPTH => {
                        names.push(name.clone());
                        parent.clone()
                    }
                    _ => return fail(Errno::ESTALE),
                }
            };
            at = parent;
        };
        let path: Vec<&[u8]> = names.iter().rev().map(|name| &**name).collect();
        let mut walked = self.shared.trip(|gofer| walk(gofer, from, &path))?;
        let last = if walked.steps.len() == path.len() { walked.steps.pop() } else { None };
        let others: Vec<Handle> = walked.steps.iter().map(|step| step.0).collect();
        self.shared.gofer.forget(&others);
        match (last, walked.end) {
            (Some((handle, attr)), _) if (attr.dev, attr.ino) == self.key => {
                self.set_handle(handle, attr);
                Ok(handle)
            }
            (Some((handle, _)), _) => {
                self.shared.gofer.forget(&[handle]);
                fail(Errno::ESTALE)
            }
            (None, WalkEnd::Failed(code)) if code != Errno::ENOENT.code() => fail(Errno::from_raw(code.into())),
            _ => fail(Errno::ESTALE),
        }
    }

    pub fn set_handle(&self, handle: Handle, attr: Attr) {
        let spare = {
            let mut state = self.state.lock();
            state.set_attr(&attr, &self.shared);
            state.handle.replace(handle)
        };
        if let Some(spare) = spare.filter(|old| *old != handle) {
            self.shared.gofer.forget(&[spare]);
        }
    }

    /// Takes the handle away where it can be had again.
    pub fn release_handle(&self) -> Option<Handle> {
        let mut state = self.state.lock();
        if state.place.is_some() { state.handle.take() } else { None }
    }

    /// A single change of this node or in it.
    pub fn change(&self, change: impl Fn(Handle) -> Change) -> Op<Changed> {
        self.with_handle(|gofer, handle| one(gofer, change(handle)))
    }
}

/// Sends one change; its result.
pub(crate) fn one(gofer: &dyn Gofer, change: Change) -> Result<Changed, Errno> {
    gofer.change(vec![change])?.pop().unwrap_or(Err(Errno::EIO))
}

/// Walks; where the gofer runs out of descriptors on the way, as a whole.
pub(crate) fn walk(gofer: &dyn Gofer, from: Handle, path: &[&[u8]]) -> Result<Walked, Errno> {
    let walked = gofer.walk(from, path)?;
    if walked.end != WalkEnd::Failed(Errno::ENFILE.code()) {
        return Ok(walked);
    }
    let handles: Vec<Handle> = walked.steps.iter().map(|step| step.0).collect();
    gofer.forget(&handles);
    Err(Errno::ENFILE)
}

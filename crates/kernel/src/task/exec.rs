//! execve(2): a new program in the task's process.

use super::Task;
use super::drive::Run;
use platform::Thread;
use std::sync::Arc;

/// A program that is ready to be started.
pub struct Image {}

impl Task {
    /// Gives the new address space its program.
    pub(super) fn exec_on(self: &Arc<Self>, _run: Box<Run>, _thread: &Arc<Thread>, _image: Image) {}
}

//! Who has which files open: what /proc/locks and /proc/PID/net are made from. Locks: those of the descriptor tables, one at a time.

use kernel::Kernel;
use kernel::task::ThreadGroup;
use kernel::vfs::File;
use std::collections::HashSet;
use std::sync::Arc;

/// Every open file that a process has a descriptor of, once, with the first such process.
pub fn all(kernel: &Kernel) -> Vec<(Arc<ThreadGroup>, Arc<File>)> {
    let (mut tables, mut seen, mut found) = (HashSet::new(), HashSet::new(), Vec::new());
    for (_, group) in kernel.root_pid_ns.groups() {
        for task in group.tasks() {
            let files = task.files();
            if !tables.insert(Arc::as_ptr(&files) as usize) {
                continue;
            }
            for (_, fd) in files.list() {
                if seen.insert(fd.file.id) {
                    found.push((group.clone(), fd.file));
                }
            }
        }
    }
    found
}

//! What proc tells of control groups: /proc/cgroups, /proc/PID/cgroup. cgroups(7).

use abi::Errno;
use kernel::task::cgroup::{Cgroup, Controllers};
use kernel::task::{Namespaces, Task};
use kernel::{Io, Op};
use std::sync::Arc;

/// Roots of the hierarchies of version 1, the newest first.
fn roots(of: &Cgroup) -> Vec<Arc<Cgroup>> {
    of.hierarchy.all().map_or_else(Vec::new, |all| all.one())
}

/// /proc/cgroups: each controller, and the hierarchy that it is in. Only one of version 1 has a number but 0.
pub fn cgroups(io: &Io<'_>) -> Op<Vec<u8>> {
    let ns = Namespaces::of(io).ok_or(Errno::ESRCH)?.cgroup;
    let two = ns.root.ancestry().last().unwrap_or_else(|| ns.root.clone());
    let one = roots(&two);
    let mut out = String::from("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
    for (name, controller) in Controllers::NAMES {
        let root = one.iter().find(|root| root.controllers().contains(controller)).unwrap_or(&two);
        out.push_str(&format!("{name}\t{}\t{}\t1\n", root.hierarchy.id, root.subtree().len()));
    }
    Ok(out.into())
}

/// /proc/PID/cgroup: a line for each hierarchy, with paths as the reader's namespace has them.
pub fn of_task(io: &Io<'_>, task: &Task) -> Op<Vec<u8>> {
    let ns = Namespaces::of(io).ok_or(Errno::ESRCH)?.cgroup;
    let mut out = Vec::new();
    let mut line = |start: String, group: &Arc<Cgroup>, root: &Arc<Cgroup>| {
        out.extend(start.into_bytes());
        out.extend(group.path_from(root));
        if group.alive().is_err() {
            out.extend_from_slice(b" (deleted)");
        }
        out.push(b'\n');
    };
    for top in roots(&task.cgroup()) {
        let hierarchy = &top.hierarchy;
        let Some(group) = task.cgroup_in(hierarchy) else { continue };
        let mut names: Vec<String> = hierarchy.controllers().names().into_iter().map(String::from).collect();
        if !hierarchy.name.is_empty() {
            names.push(format!("name={}", String::from_utf8_lossy(&hierarchy.name)));
        }
        line(format!("{}:{}:", hierarchy.id, names.join(",")), &group, &ns.root_in(&top));
    }
    line("0::".into(), &task.cgroup(), &ns.root);
    Ok(out)
}

//! sysfs: processors, memory policy, empty classes. sysfs(5).
//!
//! What a container's programs look for: which processors there are and how they lie together, whether huge pages are used. Devices
//! of the host are not shown. A tree that never changes; no locks.

use crate::proc::cpu;
use crate::pseudo::{Kind, Node, PseudoFs, Tree};
use abi::fs::SYSFS_MAGIC;
use kernel::vfs::{FsType, Inode, MountArgs};
use kernel::{Io, Kernel, Op};
use std::sync::Arc;

static TYPE: FsType = FsType { name: "sysfs", user_mountable: true, nodev: true, option: |_| Ok(()), mount };

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

fn text(text: impl std::fmt::Display) -> Node {
    let text = format!("{text}\n");
    Node::text(move |_| Ok(text.clone().into()))
}

fn mount(_io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let mut tree = Tree::new();
    processors(&mut tree, args.kernel.cpus);
    for (name, value) in &crate::facts::get().huge_pages {
        tree.add(&format!("kernel/mm/transparent_hugepage/{name}"), text(value.trim_end()));
    }
    tree.add_folder("kernel/mm/hugepages");
    for class in ["net", "block", "tty", "mem", "misc", "power_supply", "thermal", "hwmon", "drm", "input"] {
        tree.add_folder(&format!("class/{class}"));
    }
    for folder in [
        "block",
        "bus",
        "dev/block",
        "dev/char",
        "fs/cgroup",
        "fs/fuse/connections",
        "module",
        "power",
        "devices/virtual",
    ] {
        tree.add_folder(folder);
    }
    let product = std::str::from_utf8(args.data).ok().and_then(|data| {
        let mut options = data.split(',');
        options.find_map(|option| option.strip_prefix("product_name=").map(str::to_owned))
    });
    tree.add("devices/virtual/dmi/id/product_name", text(product.as_deref().unwrap_or("stockade")));
    tree.add("devices/virtual/dmi/id/sys_vendor", text("stockade"));
    tree.add("class/dmi/id", Node::link_to("../../devices/virtual/dmi/id"));
    let kind = Kind { name: "sysfs", magic: SYSFS_MAGIC.into(), file_size: 4096, options: String::new(), pts: None };
    Ok(PseudoFs::mount(kind, tree.into_node()))
}

/// devices/system/cpu and node: one package, a core for each processor, one memory node.
fn processors(tree: &mut Tree, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    let (list, mask) = (cpu::list(&all), cpu::mask(&all));
    let base = "devices/system/cpu";
    for name in ["online", "possible", "present"] {
        tree.add(&format!("{base}/{name}"), text(&list));
    }
    tree.add(&format!("{base}/offline"), text(""));
    tree.add(&format!("{base}/isolated"), text(""));
    tree.add(&format!("{base}/kernel_max"), text(count.max(1) - 1));
    for at in 0..count {
        let topology = format!("{base}/cpu{at}/topology");
        let (own_list, own_mask) = (cpu::list(&[at]), cpu::mask(&[at]));
        let values = [
            ("core_id", at.to_string()),
            ("physical_package_id", "0".into()),
            ("die_id", "0".into()),
            ("thread_siblings", own_mask.clone()),
            ("thread_siblings_list", own_list.clone()),
            ("core_cpus", own_mask),
            ("core_cpus_list", own_list),
            ("core_siblings", mask.clone()),
            ("core_siblings_list", list.clone()),
            ("package_cpus", mask.clone()),
            ("package_cpus_list", list.clone()),
        ];
        for (name, value) in values {
            tree.add(&format!("{topology}/{name}"), text(value));
        }
        tree.add(&format!("{base}/cpu{at}/online"), text(1));
    }
    let node = "devices/system/node";
    for name in ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"] {
        tree.add(&format!("{node}/{name}"), text(0));
    }
    tree.add(&format!("{node}/node0/cpulist"), text(&list));
    tree.add(&format!("{node}/node0/cpumap"), text(&mask));
    tree.add(&format!("{node}/node0/distance"), text(10));
}

//! sysfs: processors, memory policy, the loopback device, empty classes. sysfs(5).
//!
//! What a container's programs look for: which processors there are and how they lie together, whether huge pages are used. Devices
//! of the host are not shown; the network's are those of the network namespace that the file system was mounted in. A tree that never changes; no locks.

use crate::proc::cpu;
use crate::pseudo::{Kind, Node, PseudoFs, Tree};
use abi::Errno;
use abi::fs::SYSFS_MAGIC;
use abi::netlink::{ARPHRD_LOOPBACK, IFF_LOOPBACK, IFF_UP};
use kernel::task::{LOOPBACK_INDEX, LOOPBACK_NAME, Loopback, Namespaces, NetNs};
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

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let mut tree = Tree::new();
    processors(&mut tree, args.kernel.cpus);
    for (name, value) in &crate::facts::get().huge_pages {
        tree.add(&format!("kernel/mm/transparent_hugepage/{name}"), text(value.trim_end()));
    }
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
    if let Some(namespaces) = Namespaces::of(io) {
        loopback(&mut tree, &namespaces.net);
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

/// What the file of a device says.
type Said = fn(&Loopback) -> Op<String>;

/// class/net/lo. Its files are read-only: ip-link(8) changes the device.
fn loopback(tree: &mut Tree, net: &Arc<NetNs>) {
    /// EINVAL where it is down, as for all that only a running device has.
    fn running(device: &Loopback, value: u32) -> Op<String> {
        if device.is_up() { Ok(value.to_string()) } else { kernel::fail(Errno::EINVAL) }
    }
    let files: [(&str, Said); 20] = [
        ("addr_assign_type", |_| Ok("0".into())),
        ("addr_len", |_| Ok("6".into())),
        ("address", |_| Ok("00:00:00:00:00:00".into())),
        ("broadcast", |_| Ok("00:00:00:00:00:00".into())),
        ("carrier", |device| running(device, 1)),
        ("carrier_changes", |_| Ok("0".into())),
        ("dev_id", |_| Ok("0x0".into())),
        ("dev_port", |_| Ok("0".into())),
        ("dormant", |device| running(device, 0)),
        ("flags", |device| Ok(format!("{:#x}", device.flags() & (IFF_UP | IFF_LOOPBACK)))),
        ("ifalias", |_| Ok(String::new())),
        ("ifindex", |_| Ok(LOOPBACK_INDEX.to_string())),
        ("iflink", |_| Ok(LOOPBACK_INDEX.to_string())),
        ("link_mode", |_| Ok("0".into())),
        ("mtu", |device| Ok(device.mtu.to_string())),
        ("netdev_group", |_| Ok("0".into())),
        ("operstate", |device| Ok(if device.is_up() { "unknown" } else { "down" }.into())),
        ("tx_queue_len", |device| Ok(device.queue_len.to_string())),
        ("type", |_| Ok(ARPHRD_LOOPBACK.to_string())),
        ("uevent", |_| Ok(format!("INTERFACE={LOOPBACK_NAME}\nIFINDEX={LOOPBACK_INDEX}"))),
    ];
    let base = format!("devices/virtual/net/{LOOPBACK_NAME}");
    for (name, said) in files {
        let net = net.clone();
        let node = Node::text(move |_| Ok(format!("{}\n", said(&net.loopback.lock())?).into()));
        tree.add(&format!("{base}/{name}"), node);
    }
    for direction in ["rx", "tx"] {
        for counter in ["bytes", "packets", "errors", "dropped", "fifo_errors", "compressed"] {
            tree.add(&format!("{base}/statistics/{direction}_{counter}"), text(0));
        }
        tree.add_folder(&format!("{base}/queues/{direction}-0"));
    }
    for counter in ["collisions", "multicast"] {
        tree.add(&format!("{base}/statistics/{counter}"), text(0));
    }
    tree.add(&format!("{base}/subsystem"), Node::link_to("../../../../class/net"));
    tree.add(&format!("class/net/{LOOPBACK_NAME}"), Node::link_to("../../devices/virtual/net/lo"));
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

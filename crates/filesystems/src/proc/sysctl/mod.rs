//! /proc/sys: the knobs of the kernel. proc_sys(5), sysctl(8).
//!
//! A knob is here where its value is true of this kernel; it can be written where a change has an effect. What other systems only show is
//! read-only here (EACCES, as Linux says to root, too, where a knob's mode has no write permission). Locks: none of its own.

use super::caller;
use crate::pseudo::{Content, Knob, Node, Tree, parse_number};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::cred::{Cap, CapSet, UserNs};
use kernel::ipc::fanotify;
use kernel::task::{InetKnobs, Namespaces, NetNs, PID_MAX};
use kernel::version::{RELEASE, SYSNAME, VERSION};
use kernel::vfs::FileOps;
use kernel::vfs::lease::BREAK_TIME;
use kernel::{Io, Op, fail};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

mod ipc;

fn value(text: impl std::fmt::Display) -> Node {
    let text = format!("{text}\n");
    shown(move |_| Ok(text.clone().into()))
}

/// What can only be read, by root as well.
struct Shown<F>(F);

impl<F: Fn(&mut Io<'_>) -> Op<Vec<u8>> + Send + Sync> Content for Shown<F> {
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        (self.0)(io)
    }
    fn open(&self, _io: &mut Io<'_>, flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        if flags.writable() { fail(Errno::EACCES) } else { Ok(None) }
    }
}

fn shown(make: impl Fn(&mut Io<'_>) -> Op<Vec<u8>> + Send + Sync + 'static) -> Node {
    Node::file(0o444, Shown(make))
}

pub fn add(tree: &mut Tree) {
    let mut sys = |path: &str, node: Node| {
        tree.add(&format!("sys/{path}"), node);
    };
    kernel_knobs(&mut sys);
    vm_knobs(&mut sys);
    fs_knobs(&mut sys);
    net_knobs(&mut sys);
    ipc::add(&mut sys);
    sys("user/max_user_namespaces", value(63_488));
    sys("dev/tty/legacy_tiocsti", value(0));
    sys("dev/tty/ldisc_autoload", value(0));
}

type Put<'a> = &'a mut dyn FnMut(&str, Node);

fn kernel_knobs(sys: Put<'_>) {
    sys("kernel/ostype", value(SYSNAME));
    sys("kernel/osrelease", value(RELEASE));
    sys("kernel/version", value(VERSION));
    sys("kernel/arch", value(kernel::version::MACHINE));
    sys("kernel/hostname", name_knob(false));
    sys("kernel/domainname", name_knob(true));
    sys("kernel/pid_max", value(PID_MAX));
    sys("kernel/threads-max", value(63_488));
    sys("kernel/cap_last_cap", value(CapSet::LAST));
    sys("kernel/ngroups_max", value(65536));
    sys("kernel/overflowuid", value(kernel::cred::OVERFLOW_ID));
    sys("kernel/overflowgid", value(kernel::cred::OVERFLOW_ID));
    // Addresses of guests are chosen at random by the host.
    sys("kernel/randomize_va_space", value(2));
    sys("kernel/core_pattern", value(""));
    sys("kernel/core_uses_pid", value(0));
    sys("kernel/dmesg_restrict", value(1));
    sys("kernel/kptr_restrict", value(2));
    sys("kernel/perf_event_paranoid", value(4));
    sys("kernel/unprivileged_bpf_disabled", value(2));
    sys("kernel/modules_disabled", value(1));
    sys("kernel/panic", value(0));
    sys("kernel/printk", value("4\t4\t1\t7"));
    sys("kernel/sched_child_runs_first", value(0));
    sys("kernel/random/boot_id", value(&*BOOT_ID));
    sys("kernel/random/uuid", shown(|_| Ok(format!("{}\n", uuid()).into())));
    sys("kernel/random/entropy_avail", value(256));
    sys("kernel/random/poolsize", value(256));
    sys("kernel/random/write_wakeup_threshold", value(256));
    sys("kernel/seccomp/actions_avail", value("kill_process kill_thread trap errno user_notif trace log allow"));
    sys("kernel/ns_last_pid", {
        shown(|io: &mut Io<'_>| {
            let ns = caller(io)?.pid.ns().ok_or(Errno::ESRCH)?;
            Ok(format!("{}\n", ns.last()).into())
        })
    });
    sys("kernel/pty/max", value(1 << 20));
    sys("kernel/pty/reserve", value(0));
}

fn vm_knobs(sys: Put<'_>) {
    // Memory is the host's, which decides about overcommitting by its own rule (heuristic).
    sys("vm/overcommit_memory", value(0));
    sys("vm/overcommit_ratio", value(50));
    sys("vm/max_map_count", value(65530));
    sys("vm/mmap_min_addr", value(platform::LOW));
    sys("vm/swappiness", value(60));
    sys("vm/nr_hugepages", value(0));
    sys("vm/nr_overcommit_hugepages", value(0));
    sys("vm/oom_kill_allocating_task", value(0));
    sys("vm/panic_on_oom", value(0));
    sys("vm/vfs_cache_pressure", value(100));
}

fn fs_knobs(sys: Put<'_>) {
    sys("fs/file-max", value(i64::MAX));
    sys("fs/nr_open", value(1 << 20));
    sys("fs/pipe-max-size", value(1 << 20));
    sys("fs/pipe-user-pages-soft", value(0));
    sys("fs/pipe-user-pages-hard", value(0));
    sys("fs/mount-max", value(100_000));
    sys("fs/overflowuid", value(kernel::cred::OVERFLOW_ID));
    sys("fs/overflowgid", value(kernel::cred::OVERFLOW_ID));
    sys("fs/suid_dumpable", value(0));
    sys("fs/protected_symlinks", value(0));
    sys("fs/protected_hardlinks", value(1));
    sys("fs/inotify/max_queued_events", value(16384));
    sys("fs/inotify/max_user_instances", value(128));
    sys("fs/inotify/max_user_watches", value(1_048_576));
    sys("fs/fanotify/max_queued_events", value(fanotify::MAX_QUEUED));
    sys("fs/fanotify/max_user_groups", value(fanotify::MAX_GROUPS));
    sys("fs/fanotify/max_user_marks", value(fanotify::MAX_MARKS));
    sys("fs/leases-enable", value(1));
    sys("fs/lease-break-time", lease_break_time());
    sys("fs/epoll/max_user_watches", value(1_048_576));
}

fn net_knobs(sys: Put<'_>) {
    sys("net/core/somaxconn", value(4096));
    sys("net/core/rmem_default", value(212_992));
    sys("net/core/rmem_max", value(212_992));
    sys("net/core/wmem_default", value(212_992));
    sys("net/core/wmem_max", value(212_992));
    sys("net/unix/max_dgram_qlen", value(10));
    sys("net/ipv4/ip_local_port_range", value("32768\t60999"));
    sys("net/ipv4/ip_forward", value(0));
    for knob in INET {
        sys(knob.path, knob.node());
    }
}

/// Sets a knob of a container's own namespaces by its name in sysctl(8), with dots, before its first program starts. ENOENT: it is none of these; EINVAL.
pub fn set(namespaces: &Namespaces, name: &str, value: &str) -> Op<()> {
    let path = name.replace('.', "/");
    match INET.into_iter().find(|knob| knob.path == path) {
        Some(knob) => knob.set_in(&namespaces.net, value.as_bytes(), &namespaces.net.owner),
        None => ipc::set(&namespaces.ipc, &path, value),
    }
}

/// A knob of a network namespace; numbers are those of the user namespace of who looks.
#[derive(Clone, Copy)]
struct InetKnob {
    path: &'static str,
    show: fn(&InetKnobs, &UserNs) -> String,
    set: fn(&mut InetKnobs, &[i64], &UserNs) -> Op<()>,
}

const INET: [InetKnob; 2] = [
    InetKnob {
        path: "net/ipv4/ip_unprivileged_port_start",
        show: |knobs, _| knobs.unprivileged_port_start.to_string(),
        set: |knobs, numbers, _| {
            let [port] = *numbers else { return fail(Errno::EINVAL) };
            knobs.unprivileged_port_start = u16::try_from(port).map_err(|_| Errno::EINVAL)?;
            Ok(())
        },
    },
    InetKnob {
        path: "net/ipv4/ping_group_range",
        show: |knobs, ns| {
            let [first, last] = knobs.ping_group_range.map(|gid| ns.gid_to(gid));
            format!("{first}\t{last}")
        },
        set: |knobs, numbers, ns| {
            let [first, last] = *numbers else { return fail(Errno::EINVAL) };
            let group = |number: i64| u32::try_from(number).ok().and_then(|gid| ns.gid_from(gid)).ok_or(Errno::EINVAL);
            let range = [group(first)?, group(last)?];
            knobs.ping_group_range = if first <= last { range } else { InetKnobs::default().ping_group_range };
            Ok(())
        },
    },
];

impl InetKnob {
    /// Of the caller's namespace.
    fn node(self) -> Node {
        let get = move |io: &mut Io<'_>| -> Op<Vec<u8>> {
            let knobs = *caller(io)?.namespaces().net.inet.lock();
            let text = (self.show)(&knobs, &io.cred.user_ns);
            Ok(format!("{text}\n").into())
        };
        let set = move |io: &mut Io<'_>, data: &[u8]| -> Op<()> {
            let net = caller(io)?.namespaces().net;
            if !io.cred.has_in(&net.owner, Cap::NetAdmin) {
                return fail(Errno::EPERM);
            }
            self.set_in(&net, data, &io.cred.user_ns)
        };
        Node::file(0o644, Knob { get, set })
    }

    fn set_in(self, net: &NetNs, data: &[u8], ns: &UserNs) -> Op<()> {
        let numbers = words(data).map(parse_number).collect::<Op<Vec<_>>>()?;
        let mut knobs = *net.inet.lock();
        (self.set)(&mut knobs, &numbers, ns)?;
        *net.inet.lock() = knobs;
        Ok(())
    }
}

/// Of what is written to a knob of several numbers.
fn words(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| byte.is_ascii_whitespace() || *byte == 0).filter(|word| !word.is_empty())
}

/// kernel/hostname and kernel/domainname: of the caller's UTS namespace.
fn name_knob(domain: bool) -> Node {
    let get = move |io: &mut Io<'_>| -> Op<Vec<u8>> {
        let names = caller(io)?.namespaces().uts.names.lock().clone();
        let mut name = if domain { names.1 } else { names.0 };
        name.push(b'\n');
        Ok(name)
    };
    let set = move |io: &mut Io<'_>, data: &[u8]| -> Op<()> {
        let uts = caller(io)?.namespaces().uts;
        if !io.cred.has_in(&uts.owner, Cap::SysAdmin) {
            return fail(Errno::EPERM);
        }
        let end = data.iter().position(|b| matches!(b, b'\n' | 0)).unwrap_or(data.len());
        let name = data.get(..end.min(abi::system::UTS_LEN)).unwrap_or_default().to_vec();
        let mut names = uts.names.lock();
        if domain {
            names.1 = name
        } else {
            names.0 = name
        }
        Ok(())
    };
    Node::file(0o644, Knob { get, set })
}

/// Seconds.
fn lease_break_time() -> Node {
    let get = |_: &mut Io<'_>| Ok(format!("{}\n", BREAK_TIME.load(Ordering::Relaxed)).into());
    let set = |_: &mut Io<'_>, data: &[u8]| -> Op<()> {
        let value = parse_number(data)?;
        BREAK_TIME.store(i32::try_from(value).map_err(|_| Errno::EINVAL)?.max(0) as u32, Ordering::Relaxed);
        Ok(())
    };
    Node::file(0o644, Knob { get, set })
}

/// A random UUID, version 4.
fn uuid() -> String {
    let mut raw = [0u8; 16];
    host::random::fill(&mut raw);
    if let Some(byte) = raw.get_mut(6) {
        *byte = *byte & 0x0f | 0x40;
    }
    if let Some(byte) = raw.get_mut(8) {
        *byte = *byte & 0x3f | 0x80;
    }
    let mut out = String::new();
    for (at, byte) in raw.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

static BOOT_ID: LazyLock<String> = LazyLock::new(uuid);

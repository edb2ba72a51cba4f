//! /proc/PID/net: the network namespace of a process. proc_pid_net(5).
//!
//! Sockets are found by the files that processes have open; headers alone stand where there is nothing. The one device sends nothing: zeros. Locks: none of its own.

use super::super::opened;
use super::{Subject, Target};
use crate::pseudo::{Content, Folder, Listed, Node};
use abi::net::{AF_NETLINK, AF_UNIX};
use abi::netlink::{RT_SCOPE_HOST, RT_SCOPE_LINK};
use kernel::socket::{Shown, Socket};
use kernel::task::{LOOPBACK_INDEX, LOOPBACK_NAME};
use kernel::vfs::FileType;
use kernel::{Io, Op};

type Make = fn(&Target) -> Op<Vec<u8>>;

/// What is made of a file: a header that nothing follows, or a text.
enum Entry {
    Empty(&'static str),
    Text(Make),
}

const FILES: [(&str, Entry); 13] = [
    (
        "dev",
        Entry::Empty(
            "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed \
             multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:       0       0    0    0    0     0          0         0        0       \
             0    0    0    0     0       0          0\n",
        ),
    ),
    ("unix", Entry::Text(unix)),
    ("sockstat", Entry::Text(sockstat)),
    ("netlink", Entry::Text(netlink)),
    ("tcp", Entry::Empty(TCP)),
    ("tcp6", Entry::Empty(TCP6)),
    ("udp", Entry::Empty(UDP)),
    ("udp6", Entry::Empty(UDP6)),
    ("raw", Entry::Empty(UDP)),
    ("arp", Entry::Empty("IP address       HW type     Flags       HW address            Mask     Device\n")),
    ("route", Entry::Empty(ROUTE)),
    ("if_inet6", Entry::Text(if_inet6)),
    ("packet", Entry::Empty("sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")),
];

const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";
const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n";

pub fn node(subject: &Subject) -> Node {
    Node::folder(0o555, Net(subject.clone()))
}

struct Net(Subject);

impl Folder for Net {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let found = FILES.iter().find(|(known, _)| known.as_bytes() == name);
        Ok(found.map(|(_, entry)| Node::file(0o444, NetText { subject: self.0.clone(), entry })))
    }
    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let listed = |(key, (name, _)): (u64, &(&str, Entry))| Listed {
            key,
            name: (*name).into(),
            kind: FileType::Regular,
            identity: 0,
        };
        Ok((0..).zip(&FILES).map(listed).collect())
    }
}

struct NetText {
    subject: Subject,
    entry: &'static Entry,
}

impl Content for NetText {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        let target = self.subject.get()?;
        match self.entry {
            Entry::Empty(header) => Ok((*header).into()),
            Entry::Text(make) => make(&target),
        }
    }
}

/// A socket that a process has open.
struct Seen {
    ino: u64,
    family: u32,
    kind: u32,
    protocol: u32,
    shown: Shown,
}

/// The sockets of the process' network namespace.
fn sockets(t: &Target) -> Vec<Seen> {
    let net = t.task.namespaces().net;
    let described = |file: &kernel::vfs::File| {
        let socket = file.ops_as::<Socket>()?;
        let (family, kind, protocol) = socket.ops.identity();
        Some(Seen { ino: file.inode.as_ref()?.ino, family, kind, protocol, shown: socket.ops.shown(&net)? })
    };
    opened::all(&t.task.kernel).iter().filter_map(|(_, file)| described(file)).collect()
}

/// Addresses in the kernel are not told: zeros.
fn unix(t: &Target) -> Op<Vec<u8>> {
    let mut out = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
    for Seen { ino, kind, shown, .. } in sockets(t).into_iter().filter(|s| s.family == AF_UNIX) {
        let refs = 2 + u32::from(shown.connected);
        let flags = if shown.listening { 0x1_0000 } else { 0 };
        let state = if shown.connected { 3 } else { 1 };
        let line = format!("{:016x}: {refs:08X} {:08X} {flags:08X} {kind:04X} {state:02X} {ino:5}", 0, 0);
        out.extend_from_slice(line.as_bytes());
        if !shown.name.is_empty() {
            out.push(b' ');
            out.extend(shown.name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
        }
        out.push(b'\n');
    }
    Ok(out)
}

/// The kernel's own ends are not shown. A name is two bytes of nothing, number and groups.
fn netlink(t: &Target) -> Op<Vec<u8>> {
    let mut out =
        String::from("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
    for Seen { ino, protocol, shown, .. } in sockets(t).into_iter().filter(|s| s.family == AF_NETLINK) {
        let word = |at| shown.name.get(at..at + 4).and_then(|b| b.first_chunk().copied()).map_or(0, u32::from_le_bytes);
        let (number, groups) = (word(2), word(6));
        let (queued, dump, dropped) = (shown.queued, u32::from(shown.dumping), shown.dropped);
        out += &format!(
            "{:016x} {protocol:<3} {number:<10} {groups:08x} {queued:<8} {:<8} {dump:<5} {:<8} {dropped:<8} {ino:<8}\n",
            0, 0, 2
        );
    }
    Ok(out.into())
}

/// IPv6 addresses: scopes are those of the address' kind, as Linux numbers them.
fn if_inet6(t: &Target) -> Op<Vec<u8>> {
    let net = t.task.namespaces().net;
    let mut out = String::new();
    for address in net.loopback.lock().addresses() {
        let std::net::IpAddr::V6(ip) = address.ip else { continue };
        let scope = match address.scope {
            RT_SCOPE_HOST => 0x10,
            RT_SCOPE_LINK => 0x20,
            _ => 0,
        };
        let (prefix, flags) = (address.prefix, address.flags);
        let bits = ip.to_bits();
        out += &format!("{bits:032x} {LOOPBACK_INDEX:02x} {prefix:02x} {scope:02x} {flags:02x} {LOOPBACK_NAME:>8}\n");
    }
    Ok(out.into())
}

/// Of the families that there are none of, none are in use.
fn sockstat(t: &Target) -> Op<Vec<u8>> {
    let used = sockets(t).len();
    Ok(format!(
        "sockets: used {used}\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
    )
    .into())
}

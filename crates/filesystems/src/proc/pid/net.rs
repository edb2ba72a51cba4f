//! /proc/PID/net: the network namespace of a process. proc_pid_net(5).
//!
//! Sockets are found by the files that processes have open; headers alone stand where there is nothing. Locks: none of its own.

use super::super::opened;
use super::{Subject, Target};
use crate::pseudo::{Content, Folder, Listed, Node};
use kernel::socket::{Shown, Socket};
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
             multicast|bytes    packets errs drop fifo colls carrier compressed\n",
        ),
    ),
    ("unix", Entry::Text(unix)),
    ("sockstat", Entry::Text(sockstat)),
    (
        "netlink",
        Entry::Empty("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"),
    ),
    ("tcp", Entry::Empty(TCP)),
    ("tcp6", Entry::Empty(TCP6)),
    ("udp", Entry::Empty(UDP)),
    ("udp6", Entry::Empty(UDP6)),
    ("raw", Entry::Empty(UDP)),
    ("arp", Entry::Empty("IP address       HW type     Flags       HW address            Mask     Device\n")),
    ("route", Entry::Empty(ROUTE)),
    ("if_inet6", Entry::Empty("")),
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

/// The sockets of the process' network namespace: inode number, kind and what their families say of them.
fn sockets(t: &Target) -> Vec<(u64, u32, Shown)> {
    let net = t.task.namespaces().net;
    let described = |file: &kernel::vfs::File| {
        let shown = file.ops_as::<Socket>().map(|socket| (socket.ops.identity().1, socket.ops.shown(&net)));
        let (kind, shown) = shown?;
        Some((file.inode.as_ref()?.ino, kind, shown?))
    };
    opened::all(&t.task.kernel).iter().filter_map(|(_, file)| described(file)).collect()
}

/// Addresses in the kernel are not told: zeros.
fn unix(t: &Target) -> Op<Vec<u8>> {
    let mut out = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
    for (ino, kind, shown) in sockets(t) {
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

/// Of the families that there are none of, none are in use.
fn sockstat(t: &Target) -> Op<Vec<u8>> {
    let used = sockets(t).len();
    Ok(format!(
        "sockets: used {used}\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
    )
    .into())
}

//! /proc/PID/net. proc_pid_net(5).
//!
//! What a network module knows it registers here by name; headers alone stand where there is nothing.

use crate::pseudo::{Node, Tree};
use kernel::Op;
use std::sync::LazyLock;

/// Files without any entry: name and header.
const EMPTY: [(&str, &str); 11] = [
    (
        "dev",
        "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed \
         multicast|bytes    packets errs drop fifo colls carrier compressed\n",
    ),
    ("unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"),
    ("tcp", TCP),
    ("tcp6", TCP6),
    ("udp", UDP),
    ("udp6", UDP6),
    ("raw", UDP),
    ("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"),
    ("route", ROUTE),
    ("if_inet6", ""),
    ("packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
];

const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";
const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n";

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let mut tree = Tree::new();
    for (name, header) in EMPTY {
        tree.add(name, Node::text(move |_| -> Op<Vec<u8>> { Ok(header.into()) }));
    }
    tree.into_node()
});

pub fn node() -> Node {
    NODE.clone()
}

//! Tells groups of NETLINK_ROUTE what changed of the loopback device. rtnetlink(7).

use super::super::port::Message;
use super::{address, link};
use crate::state::State;
use abi::netlink::{NETLINK_ROUTE, RTM_DELADDR, RTM_NEWADDR, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK};
use kernel::task::{DeviceChange, NetNs};

/// Sends each change to who listens. `cause` is seq and number of the request that made it, 0 for the kernel's own.
pub fn tell(net: &NetNs, changes: &[DeviceChange], cause: [u32; 2]) {
    let Ok(state) = State::of(net) else { return };
    for change in changes {
        let (group, bytes) = match change {
            DeviceChange::Link(flags) => (RTNLGRP_LINK, link::describe(&net.loopback.lock(), [0, 0], 0, *flags, true)),
            DeviceChange::Added(a) => (group_of(a), address::describe(a, RTM_NEWADDR, cause, 0)),
            DeviceChange::Removed(a) => (group_of(a), address::describe(a, RTM_DELADDR, cause, 0)),
        };
        let message = Message::of_kernel(bytes, group);
        for member in state.ports.members(NETLINK_ROUTE, group) {
            member.deliver(message.clone());
        }
    }
}

fn group_of(address: &kernel::task::DeviceAddress) -> u32 {
    if address.ip.is_ipv4() { RTNLGRP_IPV4_IFADDR } else { RTNLGRP_IPV6_IFADDR }
}

//! NETLINK_ROUTE, rtnetlink(7): the loopback device of a network namespace, its addresses and their routes.
//!
//! `link`, `address` and `route` serve the requests of each kind, `events` tells the groups of changes. Neighbours there are none, and what would
//! need a network (other devices, routes of one's own, rules, queues) is EOPNOTSUPP, as in a kernel without it.

mod address;
pub mod events;
mod link;
#[path = "route.rs"]
mod table;

use super::message::{Refusal, refuse};
use super::serve::{Answer, Request};
use abi::Errno;
use abi::netlink::{
    NLM_F_MULTI, RTM_DELADDR, RTM_DELROUTE, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWROUTE, RTM_SETLINK, RTNLGRP_MAX,
};

/// Multicast groups of the protocol.
pub const GROUPS: u32 = RTNLGRP_MAX;

/// Serves a request. EPERM for a change without CAP_NET_ADMIN in the user namespace that owns the network namespace.
pub fn serve(request: &Request<'_>) -> Result<Answer, Refusal> {
    /// The largest type that Linux knows.
    const LAST: u16 = 123;
    let kind = request.raw.header.nlmsg_type;
    if kind > LAST {
        return Err(Errno::EOPNOTSUPP.into());
    }
    // Less than a family asks for nothing.
    if request.raw.body().is_empty() {
        return Ok(Answer::Done);
    }
    // Of each four types the third asks; all others change something.
    if kind & 3 != 2 && !request.privileged {
        return Err(Errno::EPERM.into());
    }
    match kind {
        RTM_GETLINK if request.wants_dump() => link::dump(request),
        RTM_GETLINK => link::get(request),
        RTM_NEWLINK | RTM_SETLINK => link::set(request),
        RTM_GETADDR if request.wants_dump() => address::dump(request),
        RTM_GETADDR => address::get(request),
        RTM_NEWADDR => address::add(request),
        RTM_DELADDR => address::remove(request),
        RTM_GETROUTE if request.wants_dump() => table::dump(request),
        RTM_GETROUTE => table::get(request),
        RTM_GETNEIGH if request.wants_dump() => Ok(Answer::Dump(Vec::new(), 0)),
        RTM_NEWROUTE | RTM_DELROUTE => {
            refuse(Errno::EOPNOTSUPP, "stockade: the routes are those of the loopback device's addresses")
        }
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

/// The header of a message that answers: of a dump one of many.
fn flags(request: &Request<'_>, more: u16) -> u16 {
    if request.wants_dump() { NLM_F_MULTI | more } else { 0 }
}

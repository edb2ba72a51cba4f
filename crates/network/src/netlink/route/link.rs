//! RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK: the loopback device. rtnetlink(7), netdevice(7).

use super::super::message::{Builder, Refusal, attribute, attributes, number, refuse, split, text};
use super::super::serve::{Answer, Request};
use super::{events, flags};
use abi::Errno;
use abi::net::AF_BRIDGE;
use abi::netlink::*;
use kernel::task::{LOOPBACK_INDEX, LOOPBACK_NAME, Loopback};
use zerocopy::IntoBytes;

/// The message that describes the device. `changed` are flags of a change that it tells of.
pub fn describe(device: &Loopback, [seq, pid]: [u32; 2], flags: u16, changed: u32, counters: bool) -> Vec<u8> {
    let fixed = IfInfoMsg {
        ifi_type: ARPHRD_LOOPBACK,
        ifi_index: LOOPBACK_INDEX as i32,
        ifi_flags: device.flags(),
        ifi_change: changed,
        ..IfInfoMsg::default()
    };
    /// RFC 2863's states as IFLA_OPERSTATE has them: unknown is what a loopback device says that is up.
    const UNKNOWN: u8 = 0;
    const DOWN: u8 = 2;
    let mut m = Builder::new(RTM_NEWLINK, flags, seq, pid, fixed.as_bytes());
    m.attr_text(IFLA_IFNAME, LOOPBACK_NAME.as_bytes());
    m.attr_u32(IFLA_TXQLEN, device.queue_len);
    m.attr(IFLA_OPERSTATE, &[if device.is_up() { UNKNOWN } else { DOWN }]);
    m.attr(IFLA_LINKMODE, &[0]);
    m.attr_u32(IFLA_MTU, device.mtu);
    for kind in [IFLA_MIN_MTU, IFLA_MAX_MTU, IFLA_GROUP, IFLA_PROMISCUITY, IFLA_ALLMULTI] {
        m.attr_u32(kind, 0);
    }
    m.attr_u32(IFLA_NUM_TX_QUEUES, 1).attr_u32(IFLA_NUM_RX_QUEUES, 1);
    m.attr(IFLA_CARRIER, &[1]);
    for kind in [IFLA_CARRIER_CHANGES, IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT] {
        m.attr_u32(kind, 0);
    }
    m.attr(IFLA_PROTO_DOWN, &[0]);
    m.attr(IFLA_ADDRESS, &[0; 6]).attr(IFLA_BROADCAST, &[0; 6]);
    if counters {
        // Nothing is sent: struct rtnl_link_stats64 and rtnl_link_stats.
        m.attr(IFLA_STATS64, &[0; 200]).attr(IFLA_STATS, &[0; 96]);
    }
    m.attr_text(IFLA_QDISC, device.queue_name().as_bytes());
    m.build()
}

/// Whether a request wants no counters.
fn skips_counters(attributes: &[u8]) -> Result<bool, Refusal> {
    let mask = attribute(attributes, IFLA_EXT_MASK).map(number).transpose()?;
    Ok(mask.unwrap_or(0) & RTEXT_FILTER_SKIP_STATS != 0)
}

pub fn dump(request: &Request<'_>) -> Result<Answer, Refusal> {
    let found = split::<IfInfoMsg>(request.raw.body());
    if request.strict {
        match found {
            None => return refuse(Errno::EINVAL, "Invalid header for link dump"),
            Some((fixed, _)) if fixed.ifi_index != 0 => {
                return refuse(Errno::EINVAL, "Filter by device index not supported for link dump");
            }
            Some(_) => {}
        }
    }
    // Programs may send a family alone.
    let (fixed, rest) = found.unwrap_or_default();
    let bridged = u32::from(request.raw.body().first().copied().unwrap_or(0)) == AF_BRIDGE;
    let master = attribute(rest, IFLA_MASTER).map(number).transpose()?.unwrap_or(0);
    let other = fixed.ifi_index == 0 && (bridged || master != 0 || attribute(rest, IFLA_LINKINFO).is_some());
    let mut messages = Vec::new();
    if !other {
        let at = [request.raw.header.nlmsg_seq, request.number];
        let counters = !skips_counters(rest)?;
        messages.push(describe(&request.port.net.loopback.lock(), at, flags(request, 0), 0, counters));
    }
    Ok(Answer::Dump(messages, 0))
}

/// Whether a request means the loopback device, by number or name. None where it names no device at all.
fn is_meant(fixed: &IfInfoMsg, attributes: &[u8]) -> Option<bool> {
    if fixed.ifi_index != 0 {
        return Some(fixed.ifi_index == LOOPBACK_INDEX as i32);
    }
    let name = attribute(attributes, IFLA_IFNAME).or_else(|| attribute(attributes, IFLA_ALT_IFNAME))?;
    Some(text(name) == LOOPBACK_NAME.as_bytes())
}

pub fn get(request: &Request<'_>) -> Result<Answer, Refusal> {
    let Some((fixed, rest)) = split::<IfInfoMsg>(request.raw.body()) else {
        return refuse(Errno::EINVAL, "Invalid header for get link");
    };
    match is_meant(&fixed, rest) {
        None => return Err(Errno::EINVAL.into()),
        Some(false) => return Err(Errno::ENODEV.into()),
        Some(true) => {}
    }
    let at = [request.raw.header.nlmsg_seq, request.number];
    let counters = !skips_counters(rest)?;
    Ok(Answer::One(describe(&request.port.net.loopback.lock(), at, 0, 0, counters)))
}

/// Flags that IFF_* of a request make of the device's: EOPNOTSUPP for what a device without packets cannot be.
pub fn wants_up(wanted: u32, changed: u32, up: bool) -> Result<bool, Refusal> {
    let changed = if changed == 0 { u32::MAX } else { changed };
    if wanted & changed & IFF_SETTABLE != 0 {
        return refuse(Errno::EOPNOTSUPP, "stockade: of the loopback device's flags only UP can be set");
    }
    Ok(if changed & IFF_UP != 0 { wanted & IFF_UP != 0 } else { up })
}

/// RTM_NEWLINK and RTM_SETLINK: up, down, MTU, queue length.
pub fn set(request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = request.raw.header;
    let (fixed, rest) = split::<IfInfoMsg>(request.raw.body()).ok_or(Errno::EINVAL)?;
    let create = header.nlmsg_type == RTM_NEWLINK && header.nlmsg_flags & NLM_F_CREATE != 0;
    match is_meant(&fixed, rest) {
        Some(true) => {}
        _ if create => {
            return refuse(
                Errno::EOPNOTSUPP,
                "stockade: a network namespace has a loopback device, and no other can be made",
            );
        }
        None if header.nlmsg_type == RTM_SETLINK => return Err(Errno::EINVAL.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    if create && header.nlmsg_flags & NLM_F_EXCL != 0 {
        return Err(Errno::EEXIST.into());
    }
    let (mut mtu, mut queue_len) = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_MTU => mtu = Some(number(value)?),
            IFLA_TXQLEN => queue_len = Some(number(value)?),
            IFLA_EXT_MASK => {}
            IFLA_IFNAME if text(value) == LOOPBACK_NAME.as_bytes() => {}
            IFLA_IFNAME => return refuse(Errno::EOPNOTSUPP, "stockade: the loopback device keeps its name"),
            IFLA_NET_NS_PID | IFLA_NET_NS_FD => return refuse(Errno::EINVAL, "The interface netns is immutable"),
            _ => return refuse(Errno::EOPNOTSUPP, "stockade: this of the loopback device cannot be changed"),
        }
    }
    if [mtu, queue_len].into_iter().flatten().any(|value| value > i32::MAX as u32) {
        return refuse(Errno::EINVAL, "mtu or txqueuelen out of range");
    }
    let mut device = request.port.net.loopback.lock();
    let up = if (fixed.ifi_flags, fixed.ifi_change) == (0, 0) {
        device.is_up()
    } else {
        wants_up(fixed.ifi_flags, fixed.ifi_change, device.is_up())?
    };
    let mut changes = Vec::new();
    if mtu.is_some_and(|mtu| mtu != device.mtu) || queue_len.is_some_and(|len| len != device.queue_len) {
        changes.push(kernel::task::DeviceChange::Link(0));
    }
    device.mtu = mtu.unwrap_or(device.mtu);
    device.queue_len = queue_len.unwrap_or(device.queue_len);
    changes.extend(device.set_up(up));
    drop(device);
    events::tell(&request.port.net, &changes, [0, 0]);
    Ok(Answer::Done)
}

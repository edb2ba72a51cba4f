//! RTM_GETADDR, RTM_NEWADDR, RTM_DELADDR: addresses of the loopback device. rtnetlink(7).

use super::super::message::{Builder, Refusal, attribute, refuse, split, text};
use super::super::serve::{Answer, Request};
use super::{events, flags};
use abi::Errno;
use abi::net::{AF_INET, AF_INET6};
use abi::netlink::*;
use kernel::task::{DeviceAddress, DeviceChange, LOOPBACK_INDEX};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::IntoBytes;

pub fn family(ip: IpAddr) -> u8 {
    (if ip.is_ipv4() { AF_INET } else { AF_INET6 }) as u8
}

/// The bytes of an address, in network order.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address of a family in an attribute. EINVAL for one that is too short.
pub fn ip(family: u8, value: &[u8]) -> Result<IpAddr, Refusal> {
    let found = if u32::from(family) == AF_INET {
        value.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from_octets(*b)))
    } else {
        value.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from_octets(*b)))
    };
    Ok(found.ok_or(Errno::EINVAL)?)
}

/// The message that describes an address.
pub fn describe(address: &DeviceAddress, kind: u16, [seq, pid]: [u32; 2], flags: u16) -> Vec<u8> {
    let fixed = IfAddrMsg {
        ifa_family: family(address.ip),
        ifa_prefixlen: address.prefix,
        ifa_flags: address.flags as u8,
        ifa_scope: address.scope,
        ifa_index: LOOPBACK_INDEX,
    };
    let mut m = Builder::new(kind, flags, seq, pid, fixed.as_bytes());
    m.attr(IFA_ADDRESS, &octets(address.ip));
    if address.ip.is_ipv4() {
        m.attr(IFA_LOCAL, &octets(address.ip));
        if let Some(broadcast) = address.broadcast {
            m.attr(IFA_BROADCAST, &broadcast.octets());
        }
        m.attr_text(IFA_LABEL, &address.label);
    }
    m.attr_u32(IFA_FLAGS, address.flags);
    if address.proto != 0 {
        m.attr(IFA_PROTO, &[address.proto]);
    }
    // struct ifa_cacheinfo: it never ends to be preferred and valid.
    m.attr(IFA_CACHEINFO, [u32::MAX, u32::MAX, address.since, address.since].as_bytes());
    m.build()
}

pub fn dump(request: &Request<'_>) -> Result<Answer, Refusal> {
    let found = split::<IfAddrMsg>(request.raw.body());
    let mut filtered = 0;
    if request.strict {
        let Some((fixed, _)) = found else { return refuse(Errno::EINVAL, "Invalid header for address dump request") };
        if fixed.ifa_prefixlen != 0 || fixed.ifa_flags != 0 || fixed.ifa_scope != 0 {
            return refuse(Errno::EINVAL, "Invalid values in header for address dump request");
        }
        if fixed.ifa_index != 0 {
            filtered = NLM_F_DUMP_FILTERED;
        }
        if fixed.ifa_index > LOOPBACK_INDEX {
            return Err(Errno::ENODEV.into());
        }
    }
    // A family that has no addresses asks for all.
    let wanted = request.raw.body().first().copied().unwrap_or(0);
    let all = ![AF_INET as u8, AF_INET6 as u8].contains(&wanted);
    let at = [request.raw.header.nlmsg_seq, request.number];
    let device = request.port.net.loopback.lock();
    let chosen = device.addresses().iter().filter(|a| all || family(a.ip) == wanted);
    let messages = chosen.map(|a| describe(a, RTM_NEWADDR, at, flags(request, filtered))).collect();
    Ok(Answer::Dump(messages, filtered))
}

/// One address, by itself: Linux has that for IPv6 alone.
pub fn get(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (fixed, rest) = split::<IfAddrMsg>(request.raw.body()).ok_or(Errno::EINVAL)?;
    if u32::from(fixed.ifa_family) != AF_INET6 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let value = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS)).ok_or(Errno::EINVAL)?;
    let ip = ip(fixed.ifa_family, value)?;
    let at = [request.raw.header.nlmsg_seq, request.number];
    let device = request.port.net.loopback.lock();
    let found = device.find(ip, None).ok_or(Errno::EADDRNOTAVAIL)?;
    Ok(Answer::One(describe(found, RTM_NEWADDR, at, 0)))
}

/// What RTM_NEWADDR and RTM_DELADDR name: the fixed part, the attributes, and the address.
fn named<'a>(request: &Request<'a>) -> Result<(IfAddrMsg, &'a [u8], IpAddr), Refusal> {
    let (fixed, rest) = split::<IfAddrMsg>(request.raw.body()).ok_or(Errno::EINVAL)?;
    let (v4, v6) = (u32::from(fixed.ifa_family) == AF_INET, u32::from(fixed.ifa_family) == AF_INET6);
    if !v4 && !v6 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let local = attribute(rest, IFA_LOCAL);
    let value = match local.or_else(|| attribute(rest, IFA_ADDRESS).filter(|_| v6)) {
        Some(value) => value,
        None if v4 => return refuse(Errno::EINVAL, "ipv4: Local address is not supplied"),
        None => return Err(Errno::EINVAL.into()),
    };
    if fixed.ifa_prefixlen > if v4 { 32 } else { 128 } {
        return refuse(Errno::EINVAL, if v4 { "ipv4: Invalid prefix length" } else { "ipv6: Invalid prefix length" });
    }
    if fixed.ifa_index != LOOPBACK_INDEX {
        return refuse(Errno::ENODEV, if v4 { "ipv4: Device not found" } else { "ipv6: Unable to find the interface" });
    }
    Ok((fixed, rest, ip(fixed.ifa_family, value)?))
}

pub fn add(request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = request.raw.header;
    let (fixed, rest, address) = named(request)?;
    let mut new = DeviceAddress::new(address, fixed.ifa_prefixlen);
    if let Some(peer) = attribute(rest, IFA_ADDRESS)
        && ip(fixed.ifa_family, peer)? != address
    {
        return refuse(Errno::EOPNOTSUPP, "stockade: the loopback device has no peers");
    }
    if let Some(times) = attribute(rest, IFA_CACHEINFO)
        && times.get(..8) != Some(&[0xff; 8])
    {
        return refuse(Errno::EOPNOTSUPP, "stockade: addresses have no lifetimes");
    }
    if address.is_ipv4() {
        new.scope = fixed.ifa_scope;
        let broadcast = attribute(rest, IFA_BROADCAST).map(|value| ip(fixed.ifa_family, value)).transpose()?;
        if let Some(IpAddr::V4(broadcast)) = broadcast {
            new.broadcast = Some(broadcast);
        }
        if let Some(label) = attribute(rest, IFA_LABEL).map(text) {
            if label.len() > 15 {
                return Err(Errno::ERANGE.into());
            }
            new.label = label.to_vec();
        }
    } else if address.is_multicast() || address.is_unspecified() {
        return refuse(Errno::EADDRNOTAVAIL, "ipv6: Invalid address");
    }
    let mut device = request.port.net.loopback.lock();
    let there = device.find(address, Some(new.prefix)).is_some();
    if there && header.nlmsg_flags & (NLM_F_EXCL | NLM_F_REPLACE) == NLM_F_REPLACE {
        return Ok(Answer::Done);
    }
    let added = match device.add(new) {
        Ok(added) => added,
        Err(Errno::EEXIST) if address.is_ipv4() => return refuse(Errno::EEXIST, "ipv4: Address already assigned"),
        Err(Errno::EEXIST) => return refuse(Errno::EEXIST, "ipv6: address already assigned"),
        Err(errno) => return refuse(errno, "stockade: the loopback device has as many addresses as it may have"),
    };
    drop(device);
    events::tell(&request.port.net, &[DeviceChange::Added(added)], [header.nlmsg_seq, request.number]);
    Ok(Answer::Done)
}

pub fn remove(request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = request.raw.header;
    let (fixed, rest, address) = named(request)?;
    // Without IFA_ADDRESS an IPv4 address is meant whatever its prefix.
    let prefix = (address.is_ipv6() || attribute(rest, IFA_ADDRESS).is_some()).then_some(fixed.ifa_prefixlen);
    let gone = request.port.net.loopback.lock().remove(address, prefix);
    if gone.is_empty() {
        let why = if address.is_ipv4() { "ipv4: Address not found" } else { "ipv6: address not found" };
        return refuse(Errno::EADDRNOTAVAIL, why);
    }
    let changes: Vec<_> = gone.into_iter().map(DeviceChange::Removed).collect();
    events::tell(&request.port.net, &changes, [header.nlmsg_seq, request.number]);
    Ok(Answer::Done)
}

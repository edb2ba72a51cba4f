//! RTM_GETROUTE: the routes that the loopback device's addresses make. rtnetlink(7).

use super::super::message::{Builder, Refusal, attribute, number, refuse, split};
use super::super::serve::{Answer, Request};
use super::address::{family, ip, octets};
use super::flags;
use abi::Errno;
use abi::net::{AF_INET, AF_INET6};
use abi::netlink::*;
use kernel::task::{DeviceAddress, LOOPBACK_INDEX, Loopback, network};
use std::net::{IpAddr, Ipv4Addr};
use zerocopy::IntoBytes;

const RTA_CACHEINFO: u16 = 12;
const RTA_PREF: u16 = 20;
const RTA_UID: u16 = 25;

/// A route; all are the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    to: IpAddr,
    prefix: u8,
    table: u8,
    /// RTN_*.
    kind: u8,
    scope: u8,
    /// RTA_PREFSRC, of IPv4.
    source: Option<IpAddr>,
    /// RTA_PRIORITY, of IPv6.
    metric: u32,
}

/// Those of an address: to itself, and while the device is up to its network, which on a loopback device is local. `first` is the first address of an
/// IPv4 address' network.
fn of_address(address: &DeviceAddress, first: IpAddr, up: bool) -> Vec<Route> {
    let (ip, prefix) = (address.ip, address.prefix);
    let own = Route {
        to: ip,
        prefix: if ip.is_ipv4() { 32 } else { 128 },
        table: RT_TABLE_LOCAL,
        kind: RTN_LOCAL,
        scope: if ip.is_ipv4() { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE },
        source: ip.is_ipv4().then_some(first),
        metric: 0,
    };
    let mut routes = vec![own.clone()];
    if prefix >= own.prefix || !up || address.is_secondary() {
        return routes;
    }
    let net = Route { to: address.network(), prefix, ..own.clone() };
    let IpAddr::V4(v4) = ip else {
        routes.push(Route { table: RT_TABLE_MAIN, kind: RTN_UNICAST, metric: 256, ..net });
        return routes;
    };
    routes.push(net);
    if prefix < 31 {
        let last = Ipv4Addr::from_bits(v4.to_bits() | u32::MAX >> prefix);
        routes.push(Route { to: last.into(), kind: RTN_BROADCAST, scope: RT_SCOPE_LINK, ..own });
    }
    routes
}

/// All, as `ip route` shows them: by family, destination and prefix.
fn all(device: &Loopback) -> Vec<Route> {
    let addresses = device.addresses();
    let first = |of: &DeviceAddress| {
        let same = |a: &&DeviceAddress| !a.is_secondary() && a.prefix == of.prefix && a.network() == of.network();
        addresses.iter().find(same).map_or(of.ip, |a| a.ip)
    };
    let mut routes: Vec<_> = addresses.iter().flat_map(|a| of_address(a, first(a), device.is_up())).collect();
    routes.sort_by_key(|r| (r.to, r.prefix, r.table));
    routes.dedup_by_key(|r| (r.to, r.prefix, r.table));
    routes
}

impl Route {
    fn leads_to(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.to.is_ipv4() && network(ip, self.prefix) == self.to
    }

    /// The message that describes the route. `asked` is the destination that a single request was for.
    fn describe(&self, [seq, pid]: [u32; 2], flags: u16, asked: Option<IpAddr>) -> Vec<u8> {
        let v4 = self.to.is_ipv4();
        let cached = asked.filter(|_| v4);
        // What Linux shows of a route that it made for one destination: of the main table, with which the local one is one while there are no rules.
        let own = if self.kind == RTN_BROADCAST { RTCF_BROADCAST } else { 0 };
        let (to, prefix, rtm_flags, table) = match cached {
            Some(to) => (to, 32, RTM_F_CLONED | RTCF_LOCAL | own, RT_TABLE_MAIN),
            None => (self.to, self.prefix, 0, self.table),
        };
        let fixed = RtMsg {
            rtm_family: family(to),
            rtm_dst_len: prefix,
            rtm_table: table,
            rtm_protocol: if cached.is_some() { 0 } else { RTPROT_KERNEL },
            rtm_scope: if cached.is_some() { RT_SCOPE_UNIVERSE } else { self.scope },
            rtm_type: self.kind,
            rtm_flags,
            ..RtMsg::default()
        };
        let mut m = Builder::new(RTM_NEWROUTE, flags, seq, pid, fixed.as_bytes());
        m.attr_u32(RTA_TABLE, table.into()).attr(RTA_DST, &octets(to));
        if let Some(source) = self.source.filter(|_| v4) {
            m.attr_u32(RTA_OIF, LOOPBACK_INDEX).attr(RTA_PREFSRC, &octets(source));
        }
        if cached.is_some() {
            m.attr_u32(RTA_UID, 0).attr(RTA_CACHEINFO, &[0; 32]);
        }
        if !v4 {
            if asked.is_some() {
                m.attr(RTA_PREFSRC, &octets(to));
            }
            m.attr_u32(RTA_PRIORITY, self.metric).attr_u32(RTA_OIF, LOOPBACK_INDEX);
            m.attr(RTA_CACHEINFO, &[0; 32]).attr(RTA_PREF, &[0]);
        }
        m.build()
    }
}

pub fn dump(request: &Request<'_>) -> Result<Answer, Refusal> {
    let found = split::<RtMsg>(request.raw.body());
    let (mut table, mut filtered) = (0, 0);
    match found {
        None if request.strict => return refuse(Errno::EINVAL, "Invalid header for FIB dump request"),
        // Routes that are kept for single destinations: none.
        Some((fixed, _)) if fixed.rtm_flags & RTM_F_CLONED != 0 => return Ok(Answer::Dump(Vec::new(), 0)),
        Some((fixed, rest)) if request.strict => {
            table = attribute(rest, RTA_TABLE).map_or(Ok(fixed.rtm_table.into()), number)?;
            let device = attribute(rest, RTA_OIF).map(number).transpose()?;
            if device.is_some_and(|device| device != LOOPBACK_INDEX) {
                return Err(Errno::ENODEV.into());
            }
            if table != 0 || device.is_some() {
                filtered = NLM_F_DUMP_FILTERED;
            }
        }
        _ => {}
    }
    let wanted = request.raw.body().first().copied().unwrap_or(0);
    let any = ![AF_INET as u8, AF_INET6 as u8].contains(&wanted);
    let at = [request.raw.header.nlmsg_seq, request.number];
    let routes = all(&request.port.net.loopback.lock());
    let chosen = routes.iter().filter(|r| (any || family(r.to) == wanted) && (table == 0 || table == r.table.into()));
    let messages = chosen.map(|r| r.describe(at, flags(request, filtered), None)).collect();
    Ok(Answer::Dump(messages, filtered))
}

/// The route to one destination. ENETUNREACH where none leads there.
pub fn get(request: &Request<'_>) -> Result<Answer, Refusal> {
    let Some((fixed, rest)) = split::<RtMsg>(request.raw.body()) else {
        return refuse(Errno::EINVAL, "Invalid header for route get request");
    };
    if ![AF_INET, AF_INET6].contains(&fixed.rtm_family.into()) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let to = attribute(rest, RTA_DST).map(|value| ip(fixed.rtm_family, value)).transpose()?;
    let to = to.ok_or(Errno::ENETUNREACH)?;
    let routes = all(&request.port.net.loopback.lock());
    let best = routes.iter().filter(|r| r.leads_to(to)).max_by_key(|r| r.prefix).ok_or(Errno::ENETUNREACH)?;
    let at = [request.raw.header.nlmsg_seq, request.number];
    Ok(Answer::One(best.describe(at, 0, Some(to))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(device: &Loopback) -> Vec<String> {
        all(device).iter().map(|r| format!("{} {}/{} table {}", r.kind, r.to, r.prefix, r.table)).collect()
    }

    #[test]
    fn routes_follow_the_addresses() {
        let mut device = Loopback::default();
        assert_eq!(shown(&device), [""; 0]);
        device.set_up(true);
        assert_eq!(
            shown(&device),
            [
                "2 127.0.0.0/8 table 255",
                "2 127.0.0.1/32 table 255",
                "3 127.255.255.255/32 table 255",
                "2 ::1/128 table 255"
            ]
        );
        device.set_up(false);
        assert_eq!(shown(&device), ["2 127.0.0.1/32 table 255"]);
        device.set_up(true);
        for (ip, prefix) in [("10.0.0.1", 0), ("10.0.0.2", 31), ("10.0.0.4", 32), ("fd00::1", 64)] {
            device.add(DeviceAddress::new(ip.parse().unwrap(), prefix)).unwrap();
        }
        let routes = all(&device);
        let best = |ip: &str| {
            let ip = ip.parse().unwrap();
            routes.iter().filter(|r| r.leads_to(ip)).max_by_key(|r| r.prefix).map(|r| (r.prefix, r.kind))
        };
        assert_eq!(best("127.3.2.1"), Some((8, RTN_LOCAL)));
        assert_eq!(best("127.255.255.255"), Some((32, RTN_BROADCAST)));
        assert_eq!(best("10.0.0.3"), Some((31, RTN_LOCAL)));
        assert_eq!(best("8.8.8.8"), Some((0, RTN_LOCAL)));
        assert_eq!(best("fd00::9"), Some((64, RTN_UNICAST)));
        assert_eq!(best("fd01::9"), None);
    }
}

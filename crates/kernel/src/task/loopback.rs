//! A network namespace's one device, the loopback: whether it is up, its MTU, its addresses. netdevice(7), network_namespaces(7).
//!
//! State alone. Crate `network` shows and changes it by netlink and ioctl, and tells who listens; `filesystems` shows it in /proc and /sys. Packets
//! there are none, so all counters are zero. Owns no locks: `NetNs` has it under its own.

use abi::Errno;
use abi::netlink::{
    IFA_F_PERMANENT, IFA_F_SECONDARY, IFAPROT_KERNEL_LO, IFF_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING, IFF_UP,
    RT_SCOPE_HOST, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Its name and number, in each namespace the same.
pub const LOOPBACK_NAME: &str = "lo";
pub const LOOPBACK_INDEX: u32 = 1;
/// Addresses that it may have.
const MAX_ADDRESSES: usize = 64;

/// An address of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    pub ip: IpAddr,
    /// Bits of the network's part: at most those of the family.
    pub prefix: u8,
    /// RT_SCOPE_*.
    pub scope: u8,
    /// IFA_F_*.
    pub flags: u32,
    pub broadcast: Option<Ipv4Addr>,
    /// IFA_LABEL, of IPv4 addresses: without a zero.
    pub label: Vec<u8>,
    /// IFA_PROTO.
    pub proto: u8,
    /// When it came, by the monotonic clock in hundredths of a second.
    pub since: u32,
}

impl DeviceAddress {
    pub fn new(ip: IpAddr, prefix: u8) -> DeviceAddress {
        let scope = match ip {
            IpAddr::V4(_) => RT_SCOPE_UNIVERSE,
            IpAddr::V6(ip) if ip.is_loopback() => RT_SCOPE_HOST,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => RT_SCOPE_LINK,
            IpAddr::V6(_) => RT_SCOPE_UNIVERSE,
        };
        let since = (crate::time::monotonic() / 10_000_000) as u32;
        let (flags, label) = (IFA_F_PERMANENT, LOOPBACK_NAME.into());
        DeviceAddress { ip, prefix, scope, flags, broadcast: None, label, proto: 0, since }
    }

    pub fn is_secondary(&self) -> bool {
        self.flags & IFA_F_SECONDARY != 0
    }

    /// The first address of its network.
    pub fn network(&self) -> IpAddr {
        network(self.ip, self.prefix)
    }
}

/// An address without the bits behind its prefix.
pub fn network(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// What a change did, in order: who listens on netlink is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// With the flags that changed.
    Link(u32),
    Added(DeviceAddress),
    Removed(DeviceAddress),
}

/// The device.
pub struct Loopback {
    up: bool,
    /// It has been up once: its queue is no longer the one that a new device has.
    used: bool,
    pub mtu: u32,
    pub queue_len: u32,
    addresses: Vec<DeviceAddress>,
}

impl Default for Loopback {
    /// Of a new namespace: down, without an address.
    fn default() -> Loopback {
        Loopback { up: false, used: false, mtu: 65_536, queue_len: 1000, addresses: Vec::new() }
    }
}

impl Loopback {
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// IFF_*.
    pub fn flags(&self) -> u32 {
        if self.up { IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP } else { IFF_LOOPBACK }
    }

    /// The name of its queue of packets.
    pub fn queue_name(&self) -> &'static str {
        if self.used { "noqueue" } else { "noop" }
    }

    /// IPv4 before IPv6.
    pub fn addresses(&self) -> &[DeviceAddress] {
        &self.addresses
    }

    /// As on Linux, the first IPv4 address comes when the device goes up and stays; those of IPv6 come and go with it.
    pub fn set_up(&mut self, up: bool) -> Vec<DeviceChange> {
        if up == self.up {
            return Vec::new();
        }
        self.up = up;
        let mut changes = vec![DeviceChange::Link(IFF_UP | if up { IFF_RUNNING | IFF_LOWER_UP } else { 0 })];
        if !up {
            let (stay, go) = std::mem::take(&mut self.addresses).into_iter().partition(|a| a.ip.is_ipv4());
            self.addresses = stay;
            let go: Vec<_> = go;
            changes.extend(go.into_iter().map(DeviceChange::Removed));
            return changes;
        }
        self.used = true;
        if self.addresses.iter().all(|a| a.ip.is_ipv6()) {
            let address = DeviceAddress { scope: RT_SCOPE_HOST, ..DeviceAddress::new(Ipv4Addr::LOCALHOST.into(), 8) };
            changes.extend(self.add(address).map(DeviceChange::Added));
        }
        let address = DeviceAddress { proto: IFAPROT_KERNEL_LO, ..DeviceAddress::new(Ipv6Addr::LOCALHOST.into(), 128) };
        changes.extend(self.add(address).map(DeviceChange::Added));
        changes
    }

    /// Where a new address goes: IPv4 in the order of coming, but after wider scopes; IPv6 before narrower ones.
    fn place(&self, new: &DeviceAddress) -> usize {
        let after_v4 = self.addresses.iter().take_while(|a| a.ip.is_ipv4()).count();
        if new.ip.is_ipv6() {
            let narrower = |a: &DeviceAddress| a.ip.is_ipv6() && a.scope >= new.scope;
            return self.addresses.iter().position(narrower).unwrap_or(self.addresses.len());
        }
        if new.is_secondary() {
            return after_v4;
        }
        let before = |a: &DeviceAddress| a.ip.is_ipv4() && !a.is_secondary() && new.scope <= a.scope;
        self.addresses.iter().rposition(before).map_or(0, |at| at + 1)
    }

    /// EEXIST for one that is there, ENOBUFS where there are too many. Returns it as it is kept.
    pub fn add(&mut self, mut new: DeviceAddress) -> Result<DeviceAddress, Errno> {
        if self.find(new.ip, Some(new.prefix)).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.addresses.len() >= MAX_ADDRESSES {
            return Err(Errno::ENOBUFS);
        }
        let same_network = |a: &DeviceAddress| a.prefix == new.prefix && a.network() == new.network();
        if new.ip.is_ipv4() && self.addresses.iter().any(same_network) {
            new.flags |= IFA_F_SECONDARY;
        }
        self.addresses.insert(self.place(&new), new.clone());
        Ok(new)
    }

    pub fn find(&self, ip: IpAddr, prefix: Option<u8>) -> Option<&DeviceAddress> {
        self.addresses.iter().find(|a| a.ip == ip && prefix.is_none_or(|prefix| prefix == a.prefix))
    }

    /// Takes an address away, and with an IPv4 network's first one the others. Empty where there is none.
    pub fn remove(&mut self, ip: IpAddr, prefix: Option<u8>) -> Vec<DeviceAddress> {
        let Some(found) = self.find(ip, prefix).cloned() else { return Vec::new() };
        let follows = |a: &DeviceAddress| {
            !found.is_secondary() && a.is_secondary() && a.prefix == found.prefix && a.network() == found.network()
        };
        let (go, stay) = std::mem::take(&mut self.addresses).into_iter().partition(|a| *a == found || follows(a));
        self.addresses = stay;
        go
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(device: &Loopback) -> Vec<String> {
        device.addresses.iter().map(|a| format!("{}/{}", a.ip, a.prefix)).collect()
    }

    #[test]
    fn addresses_come_and_go_with_the_device() {
        let mut device = Loopback::default();
        assert_eq!((device.flags(), device.queue_name()), (IFF_LOOPBACK, "noop"));
        assert_eq!(device.set_up(true).len(), 3);
        assert_eq!(shown(&device), ["127.0.0.1/8", "::1/128"]);
        assert_eq!(device.set_up(true), []);
        assert_eq!(device.set_up(false).len(), 2);
        assert_eq!(shown(&device), ["127.0.0.1/8"]);
        assert_eq!((device.flags(), device.queue_name()), (IFF_LOOPBACK, "noqueue"));
        // One that is there already is the only one.
        let mut device = Loopback::default();
        device.add(DeviceAddress::new("10.0.0.1".parse().unwrap(), 24)).unwrap();
        device.set_up(true);
        assert_eq!(shown(&device), ["10.0.0.1/24", "::1/128"]);
    }

    #[test]
    fn order_and_networks() {
        let mut device = Loopback::default();
        device.set_up(true);
        let mut add = |ip: &str, prefix| device.add(DeviceAddress::new(ip.parse().unwrap(), prefix)).map(|a| a.flags);
        assert_eq!(add("10.1.2.3", 24), Ok(IFA_F_PERMANENT));
        assert_eq!(add("10.1.2.4", 24), Ok(IFA_F_PERMANENT | IFA_F_SECONDARY));
        assert_eq!(add("10.1.2.4", 24), Err(Errno::EEXIST));
        assert_eq!(add("10.1.2.4", 25), Ok(IFA_F_PERMANENT));
        assert_eq!(add("fd00::1", 64), Ok(IFA_F_PERMANENT));
        assert_eq!(
            shown(&device),
            ["127.0.0.1/8", "10.1.2.3/24", "10.1.2.4/25", "10.1.2.4/24", "fd00::1/64", "::1/128"]
        );
        assert_eq!(device.remove("10.1.2.9".parse().unwrap(), None), []);
        assert_eq!(device.remove("10.1.2.3".parse().unwrap(), Some(24)).len(), 2);
        assert_eq!(shown(&device), ["127.0.0.1/8", "10.1.2.4/25", "fd00::1/64", "::1/128"]);
        assert_eq!(network("10.1.2.3".parse().unwrap(), 0), "0.0.0.0".parse::<IpAddr>().unwrap());
        assert_eq!(network("fd00::5".parse().unwrap(), 128), "fd00::5".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn addresses_are_bounded() {
        let mut device = Loopback::default();
        for at in 0..64 {
            device.add(DeviceAddress::new(Ipv4Addr::from_bits(at).into(), 32)).unwrap();
        }
        assert_eq!(device.add(DeviceAddress::new(Ipv4Addr::from_bits(99).into(), 32)), Err(Errno::ENOBUFS));
    }
}

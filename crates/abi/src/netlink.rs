//! Netlink messages and network devices: netlink(7), rtnetlink(7), netdevice(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Protocols of socket(2).
pub const NETLINK_ROUTE: u32 = 0;
pub const NETLINK_KOBJECT_UEVENT: u32 = 15;

/// Options of SOL_NETLINK.
pub const NETLINK_ADD_MEMBERSHIP: u32 = 1;
pub const NETLINK_DROP_MEMBERSHIP: u32 = 2;
pub const NETLINK_PKTINFO: u32 = 3;
pub const NETLINK_BROADCAST_ERROR: u32 = 4;
pub const NETLINK_NO_ENOBUFS: u32 = 5;
pub const NETLINK_LISTEN_ALL_NSID: u32 = 8;
pub const NETLINK_LIST_MEMBERSHIPS: u32 = 9;
pub const NETLINK_CAP_ACK: u32 = 10;
pub const NETLINK_EXT_ACK: u32 = 11;
pub const NETLINK_GET_STRICT_CHK: u32 = 12;

/// Flags of a message.
pub const NLM_F_REQUEST: u16 = 0x1;
pub const NLM_F_MULTI: u16 = 0x2;
pub const NLM_F_ACK: u16 = 0x4;
pub const NLM_F_DUMP_FILTERED: u16 = 0x20;
pub const NLM_F_ROOT: u16 = 0x100;
pub const NLM_F_MATCH: u16 = 0x200;
pub const NLM_F_DUMP: u16 = NLM_F_ROOT | NLM_F_MATCH;
/// Of requests that make something.
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_CREATE: u16 = 0x400;
/// Of an NLMSG_ERROR.
pub const NLM_F_CAPPED: u16 = 0x100;
pub const NLM_F_ACK_TLVS: u16 = 0x200;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
/// Types below are netlink's own.
pub const NLMSG_MIN_TYPE: u16 = 16;
pub const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bits of an attribute's type beside the number.
pub const NLA_TYPE_MASK: u16 = 0x3fff;

/// `struct nlmsghdr`, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NlMsgHdr {
    pub nlmsg_len: u32,
    pub nlmsg_type: u16,
    pub nlmsg_flags: u16,
    pub nlmsg_seq: u32,
    pub nlmsg_pid: u32,
}

pub const RTM_NEWLINK: u16 = 16;
pub const RTM_DELLINK: u16 = 17;
pub const RTM_GETLINK: u16 = 18;
pub const RTM_SETLINK: u16 = 19;
pub const RTM_NEWADDR: u16 = 20;
pub const RTM_DELADDR: u16 = 21;
pub const RTM_GETADDR: u16 = 22;
pub const RTM_NEWROUTE: u16 = 24;
pub const RTM_DELROUTE: u16 = 25;
pub const RTM_GETROUTE: u16 = 26;
pub const RTM_GETNEIGH: u16 = 30;

/// Multicast groups of NETLINK_ROUTE.
pub const RTNLGRP_LINK: u32 = 1;
pub const RTNLGRP_IPV4_IFADDR: u32 = 5;
pub const RTNLGRP_IPV6_IFADDR: u32 = 9;
pub const RTNLGRP_MAX: u32 = 39;

/// `struct ifinfomsg`, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IfInfoMsg {
    pub ifi_family: u8,
    pub pad: u8,
    pub ifi_type: u16,
    pub ifi_index: i32,
    pub ifi_flags: u32,
    pub ifi_change: u32,
}

pub const IFLA_ADDRESS: u16 = 1;
pub const IFLA_BROADCAST: u16 = 2;
pub const IFLA_IFNAME: u16 = 3;
pub const IFLA_MTU: u16 = 4;
pub const IFLA_QDISC: u16 = 6;
pub const IFLA_STATS: u16 = 7;
pub const IFLA_MASTER: u16 = 10;
pub const IFLA_TXQLEN: u16 = 13;
pub const IFLA_OPERSTATE: u16 = 16;
pub const IFLA_LINKMODE: u16 = 17;
pub const IFLA_LINKINFO: u16 = 18;
pub const IFLA_NET_NS_PID: u16 = 19;
pub const IFLA_STATS64: u16 = 23;
pub const IFLA_GROUP: u16 = 27;
pub const IFLA_NET_NS_FD: u16 = 28;
pub const IFLA_EXT_MASK: u16 = 29;
pub const IFLA_PROMISCUITY: u16 = 30;
pub const IFLA_NUM_TX_QUEUES: u16 = 31;
pub const IFLA_NUM_RX_QUEUES: u16 = 32;
pub const IFLA_CARRIER: u16 = 33;
pub const IFLA_CARRIER_CHANGES: u16 = 35;
pub const IFLA_PROTO_DOWN: u16 = 39;
pub const IFLA_CARRIER_UP_COUNT: u16 = 47;
pub const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
pub const IFLA_MIN_MTU: u16 = 50;
pub const IFLA_MAX_MTU: u16 = 51;
pub const IFLA_ALT_IFNAME: u16 = 53;
pub const IFLA_ALLMULTI: u16 = 61;
/// Of IFLA_EXT_MASK: no counters.
pub const RTEXT_FILTER_SKIP_STATS: u32 = 8;

/// `struct ifaddrmsg`, 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IfAddrMsg {
    pub ifa_family: u8,
    pub ifa_prefixlen: u8,
    pub ifa_flags: u8,
    pub ifa_scope: u8,
    pub ifa_index: u32,
}

pub const IFA_ADDRESS: u16 = 1;
pub const IFA_LOCAL: u16 = 2;
pub const IFA_LABEL: u16 = 3;
pub const IFA_BROADCAST: u16 = 4;
pub const IFA_CACHEINFO: u16 = 6;
pub const IFA_FLAGS: u16 = 8;
pub const IFA_PROTO: u16 = 11;
pub const IFA_F_SECONDARY: u32 = 0x1;
pub const IFA_F_PERMANENT: u32 = 0x80;
/// Of IFA_PROTO: made by the kernel for the loopback device.
pub const IFAPROT_KERNEL_LO: u8 = 1;

/// `struct rtmsg`, 12 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RtMsg {
    pub rtm_family: u8,
    pub rtm_dst_len: u8,
    pub rtm_src_len: u8,
    pub rtm_tos: u8,
    pub rtm_table: u8,
    pub rtm_protocol: u8,
    pub rtm_scope: u8,
    pub rtm_type: u8,
    pub rtm_flags: u32,
}

pub const RTA_DST: u16 = 1;
pub const RTA_OIF: u16 = 4;
pub const RTA_PRIORITY: u16 = 6;
pub const RTA_PREFSRC: u16 = 7;
pub const RTA_TABLE: u16 = 15;
pub const RTM_F_CLONED: u32 = 0x200;
pub const RTCF_BROADCAST: u32 = 0x1000_0000;
pub const RTCF_LOCAL: u32 = 0x8000_0000;
pub const RTN_UNICAST: u8 = 1;
pub const RTN_LOCAL: u8 = 2;
pub const RTN_BROADCAST: u8 = 3;
pub const RTPROT_KERNEL: u8 = 2;
pub const RT_SCOPE_UNIVERSE: u8 = 0;
pub const RT_SCOPE_LINK: u8 = 253;
pub const RT_SCOPE_HOST: u8 = 254;
pub const RT_TABLE_MAIN: u8 = 254;
pub const RT_TABLE_LOCAL: u8 = 255;

/// ARPHRD_LOOPBACK, the type of a loopback device.
pub const ARPHRD_LOOPBACK: u16 = 772;
/// Flags of a device, netdevice(7).
pub const IFF_UP: u32 = 0x1;
pub const IFF_LOOPBACK: u32 = 0x8;
pub const IFF_RUNNING: u32 = 0x40;
pub const IFF_LOWER_UP: u32 = 0x1_0000;
/// Those beside IFF_UP that a request may set: DEBUG, NOTRAILERS, NOARP, PROMISC, ALLMULTI, MULTICAST, PORTSEL, AUTOMEDIA, DYNAMIC.
pub const IFF_SETTABLE: u32 = 0x4 | 0x20 | 0x80 | 0x100 | 0x200 | 0x1000 | 0x2000 | 0x4000 | 0x8000;

/// `struct ifreq`, 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifreq {
    pub ifr_name: [u8; 16],
    pub ifr_ifru: [u8; 24],
}

/// `struct ifconf` of SIOCGIFCONF, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ifconf {
    pub ifc_len: i32,
    pub pad: u32,
    pub ifc_buf: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_c_library_has_them() {
        assert_eq!(size_of::<NlMsgHdr>(), size_of::<libc::nlmsghdr>());
        assert_eq!(size_of::<Ifreq>(), size_of::<libc::ifreq>());
        assert_eq!((size_of::<IfInfoMsg>(), size_of::<IfAddrMsg>(), size_of::<RtMsg>()), (16, 8, 12));
        let pairs = [
            (NETLINK_KOBJECT_UEVENT as i32, libc::NETLINK_KOBJECT_UEVENT),
            (NETLINK_CAP_ACK as i32, libc::NETLINK_CAP_ACK),
            (NLM_F_CREATE.into(), libc::NLM_F_CREATE),
            (NLM_F_DUMP_FILTERED.into(), libc::NLM_F_DUMP_FILTERED),
            (RTM_GETROUTE.into(), libc::RTM_GETROUTE.into()),
            (RTM_GETNEIGH.into(), libc::RTM_GETNEIGH.into()),
            (IFLA_STATS64.into(), libc::IFLA_STATS64.into()),
            (IFLA_CARRIER.into(), libc::IFLA_CARRIER.into()),
            (IFA_FLAGS.into(), libc::IFA_FLAGS.into()),
            (RTA_TABLE.into(), libc::RTA_TABLE.into()),
            (RTM_F_CLONED as i32, libc::RTM_F_CLONED as i32),
            (ARPHRD_LOOPBACK.into(), libc::ARPHRD_LOOPBACK.into()),
            (IFF_RUNNING as i32, libc::IFF_RUNNING),
        ];
        for (at, (ours, theirs)) in pairs.into_iter().enumerate() {
            assert_eq!(ours, theirs, "{at}");
        }
    }
}

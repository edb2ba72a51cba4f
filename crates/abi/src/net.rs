//! Sockets: socket(2), socket(7), unix(7), ip(7), ipv6(7), tcp(7), sendmsg(2), cmsg(3).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::net::{
    AF_ALG, AF_APPLETALK, AF_ASH, AF_ATMPVC, AF_ATMSVC, AF_AX25, AF_BLUETOOTH, AF_BRIDGE, AF_CAIF, AF_CAN, AF_DECnet,
    AF_ECONET, AF_IEEE802154, AF_INET, AF_INET6, AF_IPX, AF_IRDA, AF_ISDN, AF_IUCV, AF_KCM, AF_KEY, AF_LLC, AF_MAX,
    AF_MCTP, AF_NETBEUI, AF_NETLINK, AF_NETROM, AF_NFC, AF_PACKET, AF_PHONET, AF_PPPOX, AF_QIPCRTR, AF_RDS, AF_ROSE,
    AF_RXRPC, AF_SECURITY, AF_SMC, AF_SNA, AF_TIPC, AF_UNIX, AF_UNSPEC, AF_VSOCK, AF_WANPIPE, AF_X25, AF_XDP, SHUT_RD,
    SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_STREAM,
};
pub use linux_raw_sys::net::{IFNAMSIZ, UNIX_PATH_MAX};
pub use linux_raw_sys::net::{
    IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_BIND_ADDRESS_NO_PORT, IP_BLOCK_SOURCE, IP_CHECKSUM,
    IP_DEFAULT_MULTICAST_LOOP, IP_DEFAULT_MULTICAST_TTL, IP_DROP_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP, IP_FREEBIND,
    IP_HDRINCL, IP_IPSEC_POLICY, IP_LOCAL_PORT_RANGE, IP_MINTTL, IP_MSFILTER, IP_MTU, IP_MTU_DISCOVER,
    IP_MULTICAST_ALL, IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_NODEFRAG, IP_OPTIONS, IP_ORIGDSTADDR,
    IP_PASSSEC, IP_PKTINFO, IP_PKTOPTIONS, IP_PMTUDISC_DO, IP_PMTUDISC_DONT, IP_PMTUDISC_INTERFACE, IP_PMTUDISC_OMIT,
    IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT, IP_PROTOCOL, IP_RECVERR, IP_RECVERR_RFC4884, IP_RECVFRAGSIZE, IP_RECVOPTS,
    IP_RECVORIGDSTADDR, IP_RECVRETOPTS, IP_RECVTOS, IP_RECVTTL, IP_RETOPTS, IP_ROUTER_ALERT, IP_TOS, IP_TRANSPARENT,
    IP_TTL, IP_UNBLOCK_SOURCE, IP_UNICAST_IF, IP_XFRM_POLICY, MCAST_BLOCK_SOURCE, MCAST_EXCLUDE, MCAST_INCLUDE,
    MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER,
    MCAST_UNBLOCK_SOURCE,
};
pub use linux_raw_sys::net::{
    IPV6_2292DSTOPTS, IPV6_2292HOPLIMIT, IPV6_2292HOPOPTS, IPV6_2292PKTINFO, IPV6_2292PKTOPTIONS, IPV6_2292RTHDR,
    IPV6_ADD_MEMBERSHIP, IPV6_ADDR_PREFERENCES, IPV6_ADDRFORM, IPV6_AUTHHDR, IPV6_AUTOFLOWLABEL, IPV6_CHECKSUM,
    IPV6_DONTFRAG, IPV6_DROP_MEMBERSHIP, IPV6_DSTOPTS, IPV6_FL_A_GET, IPV6_FL_A_PUT, IPV6_FL_A_RENEW, IPV6_FL_F_CREATE,
    IPV6_FL_F_EXCL, IPV6_FL_F_REFLECT, IPV6_FL_F_REMOTE, IPV6_FL_S_ANY, IPV6_FL_S_EXCL, IPV6_FL_S_NONE,
    IPV6_FL_S_PROCESS, IPV6_FL_S_USER, IPV6_FLOWINFO, IPV6_FLOWINFO_FLOWLABEL, IPV6_FLOWINFO_PRIORITY,
    IPV6_FLOWINFO_SEND, IPV6_FLOWLABEL_MGR, IPV6_FREEBIND, IPV6_HDRINCL, IPV6_HOPLIMIT, IPV6_HOPOPTS,
    IPV6_IPSEC_POLICY, IPV6_JOIN_ANYCAST, IPV6_LEAVE_ANYCAST, IPV6_MIN_MTU, IPV6_MINHOPCOUNT, IPV6_MTU,
    IPV6_MTU_DISCOVER, IPV6_MULTICAST_ALL, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_LOOP, IPV6_NEXTHOP,
    IPV6_OPT_ROUTERALERT_MLD, IPV6_ORIGDSTADDR, IPV6_PATHMTU, IPV6_PKTINFO, IPV6_PMTUDISC_DO, IPV6_PMTUDISC_DONT,
    IPV6_PMTUDISC_INTERFACE, IPV6_PMTUDISC_OMIT, IPV6_PMTUDISC_PROBE, IPV6_PMTUDISC_WANT, IPV6_PREFER_SRC_CGA,
    IPV6_PREFER_SRC_COA, IPV6_PREFER_SRC_HOME, IPV6_PREFER_SRC_NONCGA, IPV6_PREFER_SRC_PUBLIC,
    IPV6_PREFER_SRC_PUBTMP_DEFAULT, IPV6_PREFER_SRC_TMP, IPV6_PRIORITY_8, IPV6_PRIORITY_9, IPV6_PRIORITY_10,
    IPV6_PRIORITY_11, IPV6_PRIORITY_12, IPV6_PRIORITY_13, IPV6_PRIORITY_14, IPV6_PRIORITY_15, IPV6_PRIORITY_BULK,
    IPV6_PRIORITY_CONTROL, IPV6_PRIORITY_FILLER, IPV6_PRIORITY_INTERACTIVE, IPV6_PRIORITY_RESERVED1,
    IPV6_PRIORITY_RESERVED2, IPV6_PRIORITY_UNATTENDED, IPV6_PRIORITY_UNCHARACTERIZED, IPV6_RECVDSTOPTS, IPV6_RECVERR,
    IPV6_RECVERR_RFC4884, IPV6_RECVFRAGSIZE, IPV6_RECVHOPLIMIT, IPV6_RECVHOPOPTS, IPV6_RECVORIGDSTADDR,
    IPV6_RECVPATHMTU, IPV6_RECVPKTINFO, IPV6_RECVRTHDR, IPV6_RECVTCLASS, IPV6_ROUTER_ALERT, IPV6_ROUTER_ALERT_ISOLATE,
    IPV6_RTHDR, IPV6_RTHDRDSTOPTS, IPV6_SRCRT_STRICT, IPV6_SRCRT_TYPE_0, IPV6_SRCRT_TYPE_2, IPV6_SRCRT_TYPE_3,
    IPV6_SRCRT_TYPE_4, IPV6_TCLASS, IPV6_TLV_CALIPSO, IPV6_TLV_HAO, IPV6_TLV_IOAM, IPV6_TLV_JUMBO, IPV6_TLV_PAD1,
    IPV6_TLV_PADN, IPV6_TLV_ROUTERALERT, IPV6_TRANSPARENT, IPV6_UNICAST_HOPS, IPV6_UNICAST_IF, IPV6_V6ONLY,
    IPV6_XFRM_POLICY,
};
pub use linux_raw_sys::net::{
    MSG_CMSG_CLOEXEC, MSG_CONFIRM, MSG_CTRUNC, MSG_DONTROUTE, MSG_DONTWAIT, MSG_EOR, MSG_ERRQUEUE, MSG_FIN, MSG_MORE,
    MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_PROBE, MSG_RST, MSG_SYN, MSG_TRUNC, MSG_WAITALL, SCM_CREDENTIALS,
    SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR, SCM_INQ, SCM_RIGHTS, SCM_SECURITY, SCM_TIMESTAMP, SCM_TIMESTAMPING,
    SCM_TIMESTAMPING_OPT_STATS, SCM_TIMESTAMPING_PKTINFO, SCM_TIMESTAMPNS, SCM_TS_OPT_ID, SCM_TXTIME, SCM_WIFI_STATUS,
};
pub use linux_raw_sys::net::{
    SO_ACCEPTCONN, SO_ATTACH_BPF, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF,
    SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_BPF_EXTENSIONS, SO_BROADCAST, SO_BSDCOMPAT, SO_BUF_LOCK, SO_BUSY_POLL,
    SO_BUSY_POLL_BUDGET, SO_CNX_ADVICE, SO_COOKIE, SO_DEBUG, SO_DETACH_BPF, SO_DETACH_FILTER, SO_DETACH_REUSEPORT_BPF,
    SO_DEVMEM_DMABUF, SO_DEVMEM_DONTNEED, SO_DEVMEM_LINEAR, SO_DOMAIN, SO_DONTROUTE, SO_ERROR, SO_GET_FILTER,
    SO_INCOMING_CPU, SO_INCOMING_NAPI_ID, SO_INQ, SO_KEEPALIVE, SO_LINGER, SO_LOCK_FILTER, SO_MARK, SO_MAX_PACING_RATE,
    SO_MEMINFO, SO_NETNS_COOKIE, SO_NO_CHECK, SO_NOFCS, SO_OOBINLINE, SO_ORIGINAL_DST, SO_PASSCRED, SO_PASSPIDFD,
    SO_PASSRIGHTS, SO_PASSSEC, SO_PEEK_OFF, SO_PEERCRED, SO_PEERGROUPS, SO_PEERNAME, SO_PEERPIDFD, SO_PEERSEC,
    SO_PREFER_BUSY_POLL, SO_PRIORITY, SO_PROTOCOL, SO_RCVBUF, SO_RCVBUFFORCE, SO_RCVLOWAT, SO_RCVMARK, SO_RCVPRIORITY,
    SO_RCVTIMEO, SO_RCVTIMEO_NEW, SO_RCVTIMEO_OLD, SO_RESERVE_MEM, SO_REUSEADDR, SO_REUSEPORT, SO_RXQ_OVFL,
    SO_SECURITY_AUTHENTICATION, SO_SECURITY_ENCRYPTION_NETWORK, SO_SECURITY_ENCRYPTION_TRANSPORT, SO_SELECT_ERR_QUEUE,
    SO_SNDBUF, SO_SNDBUFFORCE, SO_SNDLOWAT, SO_SNDTIMEO, SO_SNDTIMEO_NEW, SO_SNDTIMEO_OLD, SO_TIMESTAMP,
    SO_TIMESTAMP_NEW, SO_TIMESTAMP_OLD, SO_TIMESTAMPING, SO_TIMESTAMPING_NEW, SO_TIMESTAMPING_OLD, SO_TIMESTAMPNS,
    SO_TIMESTAMPNS_NEW, SO_TIMESTAMPNS_OLD, SO_TXREHASH, SO_TXTIME, SO_TYPE, SO_WIFI_STATUS, SO_ZEROCOPY, SOL_AAL,
    SOL_ALG, SOL_ATALK, SOL_ATM, SOL_AX25, SOL_BLUETOOTH, SOL_CAIF, SOL_DCCP, SOL_DECNET, SOL_ICMPV6, SOL_IP, SOL_IPV6,
    SOL_IPX, SOL_IRDA, SOL_IUCV, SOL_KCM, SOL_LLC, SOL_MCTP, SOL_MPTCP, SOL_NETBEUI, SOL_NETLINK, SOL_NETROM, SOL_NFC,
    SOL_PACKET, SOL_PNPIPE, SOL_PPPOL2TP, SOL_RAW, SOL_RDS, SOL_ROSE, SOL_RXRPC, SOL_SCTP, SOL_SMC, SOL_SOCKET,
    SOL_TCP, SOL_TIPC, SOL_TLS, SOL_UDP, SOL_UDPLITE, SOL_X25, SOL_XDP,
};
pub use linux_raw_sys::net::{
    TCP_AO_ADD_KEY, TCP_AO_DEL_KEY, TCP_AO_GET_KEYS, TCP_AO_INFO, TCP_AO_KEYF_EXCLUDE_OPT, TCP_AO_KEYF_IFINDEX,
    TCP_AO_MAXKEYLEN, TCP_AO_REPAIR, TCP_CC_INFO, TCP_CM_INQ, TCP_CONGESTION, TCP_CORK, TCP_DEFER_ACCEPT,
    TCP_DELACK_MAX_US, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE, TCP_INFO, TCP_INQ,
    TCP_IS_MPTCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_LINGER2, TCP_MAXSEG, TCP_MD5SIG, TCP_MD5SIG_EXT,
    TCP_MD5SIG_FLAG_IFINDEX, TCP_MD5SIG_FLAG_PREFIX, TCP_MD5SIG_MAXKEYLEN, TCP_MSS_DEFAULT, TCP_MSS_DESIRED,
    TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_QUEUE_SEQ, TCP_QUICKACK, TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT, TCP_REPAIR,
    TCP_REPAIR_OFF, TCP_REPAIR_OFF_NO_WP, TCP_REPAIR_ON, TCP_REPAIR_OPTIONS, TCP_REPAIR_QUEUE, TCP_REPAIR_WINDOW,
    TCP_RTO_MAX_MS, TCP_RTO_MIN_US, TCP_SAVE_SYN, TCP_SAVED_SYN, TCP_SYNCNT, TCP_THIN_DUPACK, TCP_THIN_LINEAR_TIMEOUTS,
    TCP_TIMESTAMP, TCP_TX_DELAY, TCP_ULP, TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP, TCP_ZEROCOPY_RECEIVE,
};
pub const SOCK_PACKET: u32 = 10;
/// Flags beside the type of socket(2).
pub const SOCK_NONBLOCK: u32 = crate::fs::O_NONBLOCK;
pub const SOCK_CLOEXEC: u32 = crate::fs::O_CLOEXEC;
/// The type without the flags.
pub const SOCK_TYPE_MASK: u32 = 0xf;
pub const MSG_WAITFORONE: u32 = 0x1_0000;
pub const MSG_ZEROCOPY: u32 = 0x400_0000;
pub const MSG_FASTOPEN: u32 = 0x2000_0000;
pub const SCM_PIDFD: u32 = 4;
pub const IPPROTO_IP: u32 = 0;
pub const IPPROTO_ICMP: u32 = 1;
pub const IPPROTO_IGMP: u32 = 2;
pub const IPPROTO_TCP: u32 = 6;
pub const IPPROTO_UDP: u32 = 17;
pub const IPPROTO_IPV6: u32 = 41;
pub const IPPROTO_ICMPV6: u32 = 58;
pub const IPPROTO_SCTP: u32 = 132;
pub const IPPROTO_UDPLITE: u32 = 136;
pub const IPPROTO_RAW: u32 = 255;
/// The most descriptors that one SCM_RIGHTS message carries.
pub const SCM_MAX_FD: usize = 253;
/// The largest backlog of listen(2).
pub const SOMAXCONN: u32 = 4096;

/// `struct msghdr` of sendmsg(2), 56 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MsgHdr {
    pub msg_name: u64,
    pub msg_namelen: u32,
    pub pad0: u32,
    pub msg_iov: u64,
    pub msg_iovlen: u64,
    pub msg_control: u64,
    pub msg_controllen: u64,
    pub msg_flags: u32,
    pub pad1: u32,
}

/// `struct mmsghdr`, 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mmsghdr {
    pub msg_hdr: MsgHdr,
    pub msg_len: u32,
    pub pad: u32,
}

/// `struct cmsghdr`; data follows, and the next header at the next multiple of 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cmsghdr {
    /// Header and data, without padding.
    pub cmsg_len: u64,
    pub cmsg_level: i32,
    pub cmsg_type: i32,
}

/// Bytes that a control message of `data` bytes takes with its padding (CMSG_SPACE).
pub const fn cmsg_space(data: usize) -> usize {
    cmsg_len(data).next_multiple_of(8)
}

/// `cmsg_len` of a control message of `data` bytes (CMSG_LEN).
pub const fn cmsg_len(data: usize) -> usize {
    size_of::<Cmsghdr>() + data
}

/// `struct ucred` of SO_PEERCRED and SCM_CREDENTIALS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ucred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// `struct sockaddr_un`, 110 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrUn {
    pub sun_family: u16,
    pub sun_path: [u8; 108],
}

/// `struct sockaddr_in`, 16 bytes; port and address in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrIn {
    pub sin_family: u16,
    pub sin_port: [u8; 2],
    pub sin_addr: [u8; 4],
    pub sin_zero: [u8; 8],
}

/// `struct sockaddr_in6`, 28 bytes; port and address in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrIn6 {
    pub sin6_family: u16,
    pub sin6_port: [u8; 2],
    pub sin6_flowinfo: u32,
    pub sin6_addr: [u8; 16],
    pub sin6_scope_id: u32,
}

/// `struct sockaddr_nl`, 12 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockaddrNl {
    pub nl_family: u16,
    pub pad: u16,
    pub nl_pid: u32,
    pub nl_groups: u32,
}

/// `struct linger` of SO_LINGER.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Linger {
    pub l_onoff: i32,
    pub l_linger: i32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layouts() {
        assert_eq!(size_of::<MsgHdr>(), size_of::<libc::msghdr>());
        assert_eq!(offset_of!(MsgHdr, msg_flags), offset_of!(libc::msghdr, msg_flags));
        assert_eq!(size_of::<Mmsghdr>(), size_of::<libc::mmsghdr>());
        assert_eq!(size_of::<Cmsghdr>(), size_of::<libc::cmsghdr>());
        assert_eq!(size_of::<Ucred>(), size_of::<libc::ucred>());
        assert_eq!(size_of::<SockaddrUn>(), size_of::<libc::sockaddr_un>());
        assert_eq!(size_of::<SockaddrIn>(), size_of::<libc::sockaddr_in>());
        assert_eq!(size_of::<SockaddrIn6>(), size_of::<libc::sockaddr_in6>());
        assert_eq!(size_of::<SockaddrNl>(), size_of::<libc::sockaddr_nl>());
        assert_eq!(cmsg_space(4), 24);
        assert_eq!(SO_PEERCRED as i32, libc::SO_PEERCRED);
        assert_eq!(SOCK_CLOEXEC as i32, libc::SOCK_CLOEXEC);
    }
}

//! Netlink sockets as a whole: what Linux answers, and that nothing a guest sends brings the kernel down.

#![allow(clippy::unwrap_used)]

use super::*;
use abi::netlink::*;
use kernel::cred::{Cred, UserNs};
use kernel::io::{SliceSource, VecSink};
use message::Builder;
use proptest::prelude::*;

/// As root of the namespace's owner.
fn with_io<T>(socket: &NetlinkSocket, f: impl FnOnce(&mut Io<'_>) -> T) -> T {
    let mut done = 0;
    f(&mut Io::kernel(Arc::new(Cred::root(socket.port.net.owner.clone())), &mut done))
}

/// A namespace and a socket in it, whose maker has all capabilities or none.
fn socket(net: &Arc<NetNs>, privileged: bool) -> NetlinkSocket {
    let mut cred = Cred::root(net.owner.clone());
    if !privileged {
        cred.effective = kernel::cred::CapSet::EMPTY;
    }
    NetlinkSocket::new(net.clone(), Arc::new(cred), SOCK_RAW, NETLINK_ROUTE).unwrap()
}

fn net() -> Arc<NetNs> {
    NetNs::new(UserNs::initial())
}

fn send(socket: &NetlinkSocket, data: &[u8]) -> Op<usize> {
    with_io(socket, |io| socket.send(io, &mut SliceSource::new(data), &mut Outgoing::default()))
}

fn receive(socket: &NetlinkSocket, max: usize, flags: u32) -> Op<(Vec<u8>, usize)> {
    let mut sink = VecSink { data: Vec::new(), max };
    let incoming = with_io(socket, |io| socket.receive(io, &mut sink, flags))?;
    Ok((sink.data, incoming.whole))
}

/// All that waits: the messages' types, and the error of those that are one.
fn answers(socket: &NetlinkSocket) -> Vec<(u16, i32)> {
    let mut out = Vec::new();
    while let Ok((data, _)) = receive(socket, 1 << 20, 0) {
        for message in message::messages(&data) {
            let code = message.body().first_chunk::<4>().map_or(0, |b| i32::from_le_bytes(*b));
            let kind = message.header.nlmsg_type;
            out.push((kind, if matches!(kind, NLMSG_ERROR | NLMSG_DONE) { code } else { 0 }));
        }
    }
    out
}

fn up(kind: u16, index: i32, flags: u16) -> Vec<u8> {
    let fixed = IfInfoMsg { ifi_index: index, ifi_flags: IFF_UP, ifi_change: IFF_UP, ..IfInfoMsg::default() };
    Builder::new(kind, NLM_F_REQUEST | flags, 7, 0, fixed.as_bytes()).build()
}

#[test]
fn the_device_goes_up_and_who_listens_is_told() {
    let net = net();
    let (admin, listener) = (socket(&net, true), socket(&net, false));
    with_io(&listener, |io| {
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
            listener.set_option(io, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group.to_le_bytes()).unwrap();
        }
    });
    send(&listener, &up(RTM_NEWLINK, 1, 0)).unwrap();
    assert_eq!(answers(&listener), [(NLMSG_ERROR, -1)]);
    send(&admin, &up(RTM_NEWLINK, 1, NLM_F_ACK)).unwrap();
    assert_eq!(answers(&admin), [(NLMSG_ERROR, 0)]);
    assert_eq!(answers(&listener), [(RTM_NEWLINK, 0), (RTM_NEWADDR, 0), (RTM_NEWADDR, 0)]);
    send(&admin, &up(RTM_NEWLINK, 2, 0)).unwrap();
    send(&admin, &up(RTM_NEWLINK, 1, NLM_F_CREATE | NLM_F_EXCL)).unwrap();
    send(&admin, &up(RTM_NEWLINK, 0, NLM_F_CREATE)).unwrap();
    assert_eq!(answers(&admin), [(NLMSG_ERROR, -19), (NLMSG_ERROR, -17), (NLMSG_ERROR, -95)]);
    // In another namespace nothing has changed.
    assert!(!NetNs::new(UserNs::initial()).loopback.lock().is_up());
}

#[test]
fn dumps_wait_for_room_and_what_finds_none_is_enobufs() {
    let net = net();
    let asking = socket(&net, true);
    let dump = Builder::new(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 0, &[0; 16]).build();
    with_io(&asking, |io| {
        asking.set_option(io, abi::net::SOL_SOCKET, abi::net::SO_RCVBUF, &1i32.to_le_bytes()).unwrap()
    });
    send(&asking, &dump).unwrap();
    send(&asking, &dump).unwrap();
    // The second dump found the first one under way.
    let (first, whole) = receive(&asking, 20, MSG_PEEK).unwrap();
    assert!(first.len() == 20 && whole > 400);
    assert_eq!(answers(&asking), [(RTM_NEWLINK, 0), (NLMSG_ERROR, -16), (NLMSG_DONE, 0)]);
    let noop = Builder::new(1, NLM_F_REQUEST | NLM_F_ACK, 7, 0, &[]).build();
    send(&asking, &noop.repeat(20)).unwrap();
    assert!(asking.ready(Events::IN).contains(Events::IN | Events::ERR));
    assert_eq!(receive(&asking, 100, 0), fail(Errno::ENOBUFS));
    assert!((2..20).contains(&answers(&asking).len()));
}

#[test]
fn requests_of_one_send_are_bounded() {
    let asking = socket(&net(), true);
    let quiet = Builder::new(1, NLM_F_REQUEST, 7, 0, &[]).build();
    send(&asking, &quiet.repeat(1024)).unwrap();
    assert_eq!(receive(&asking, 100, 0), fail(Errno::EAGAIN));
    send(&asking, &quiet.repeat(1025)).unwrap();
    assert_eq!(receive(&asking, 100, 0), fail(Errno::ENOBUFS));
}

#[test]
fn sockets_send_to_each_other_with_a_capability() {
    let net = net();
    let [a, b] = [socket(&net, true), socket(&net, true)];
    let to = address(77, 0);
    with_io(&b, |io| b.bind(io, &to)).unwrap();
    let mut message = Outgoing { to: Some(to), ..Outgoing::default() };
    let send_to = |from: &NetlinkSocket, message: &mut Outgoing| {
        with_io(from, |io| from.send(io, &mut SliceSource::new(b"hello"), message))
    };
    assert_eq!(send_to(&a, &mut message), Ok(5));
    assert_eq!(receive(&b, 9, 0).unwrap().0, b"hello");
    message.to = Some(address(78, 0));
    assert_eq!(send_to(&a, &mut message), fail(Errno::ECONNREFUSED));
    message.to = Some(address(77, 0));
    assert_eq!(send_to(&socket(&net, false), &mut message), fail(Errno::EPERM));
    // Nobody reads: the socket fills up, and the sender would wait.
    let sent = std::iter::from_fn(|| send_to(&a, &mut message).ok()).take(10_000).count();
    assert!((100..1000).contains(&sent), "{sent}");
    drop(b);
    assert_eq!(send_to(&a, &mut message), fail(Errno::ECONNREFUSED));
}

#[test]
fn a_cookie_has_its_room() {
    let net = net();
    let socket = socket(&net, false);
    with_io(&socket, |io| {
        socket.set_option(io, abi::net::SOL_SOCKET, abi::net::SO_RCVBUF, &1i32.to_le_bytes()).unwrap()
    });
    let take = || with_io(&socket, |io| socket.cookies(io));
    let promises: Vec<_> = std::iter::from_fn(|| take().ok()).take(100).collect();
    assert!((1..10).contains(&promises.len()));
    for promise in promises {
        promise.post([5; 32]);
    }
    assert!(take().is_err());
    assert_eq!(receive(&socket, 100, 0).unwrap().0, [5; 32]);
    drop(take().unwrap());
    drop(take().unwrap());
}

/// Requests that are nearly right: types, flags, fixed parts and attributes that mean something, cut and joined at random.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (0u16..64, prop::collection::vec(any::<u8>(), 0..20), 0u16..3).prop_map(|(kind, value, off)| {
        let len = (value.len() as u16 + 4).wrapping_add(off).wrapping_sub(1);
        [&len.to_le_bytes(), &kind.to_le_bytes(), value.as_slice()].concat()
    });
    let index = prop_oneof![Just(0u8), Just(1), any::<u8>()];
    let fixed = (prop_oneof![Just(0u8), Just(2), Just(10), any::<u8>()], any::<u8>(), index, 0usize..20).prop_map(
        |(family, prefix, index, len)| {
            let mut bytes = vec![family, prefix, 0, 0, index, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
            bytes.truncate(len);
            bytes
        },
    );
    let request = (14u16..40, any::<u16>(), fixed, prop::collection::vec(attribute, 0..5));
    let request = request.prop_map(|(kind, flags, fixed, attributes)| {
        let mut bytes = Builder::new(kind, flags | NLM_F_REQUEST, 1, 2, &fixed).build();
        for attribute in attributes {
            bytes.extend_from_slice(&attribute);
        }
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes
    });
    (prop::collection::vec(request, 1..6), any::<prop::sample::Index>(), any::<bool>()).prop_map(|(all, at, cut)| {
        let mut bytes = all.concat();
        if cut {
            bytes.truncate(at.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn random_messages_are_answered(
        messages in prop::collection::vec(prop_oneof![requests(), prop::collection::vec(any::<u8>(), 1..200)], 1..12),
        options in any::<u8>(),
        privileged in any::<bool>(),
    ) {
        let net = net();
        let socket = socket(&net, privileged);
        with_io(&socket, |io| {
            for (bit, option) in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK].into_iter().enumerate() {
                socket.set_option(io, SOL_NETLINK, option, &u32::from(options >> bit & 1).to_le_bytes()).unwrap();
            }
        });
        for message in &messages {
            if !message.is_empty() {
                prop_assert_eq!(send(&socket, message), Ok(message.len()));
            }
        }
        // All that comes back is made of whole messages.
        while let Ok((data, whole)) = receive(&socket, 1 << 20, 0) {
            prop_assert_eq!(data.len(), whole);
            let sum: usize = message::messages(&data).map(|m| m.bytes.len().next_multiple_of(4)).sum();
            prop_assert!(sum >= data.len(), "{} of {}", sum, data.len());
        }
        // And the device is still one: it can be described.
        send(&socket, &Builder::new(RTM_GETLINK, NLM_F_REQUEST, 7, 0, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).build()).unwrap();
        prop_assert_eq!(answers(&socket), [(RTM_NEWLINK, 0)]);
    }
}

//! ioctl(2) on network devices, netdevice(7): on a socket of any family, of which it says the network namespace.
//!
//! Addresses by SIOCGIFADDR and its kind are asked on AF_INET sockets, which there are none of; ENOTTY on others, as on Linux.

use crate::netlink::events;
use abi::Errno;
use abi::ioctl::{
    SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMAP, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFNAME,
    SIOCGIFTXQLEN, SIOCSIFFLAGS, SIOCSIFHWADDR, SIOCSIFMTU, SIOCSIFNAME, SIOCSIFTXQLEN,
};
use abi::net::{AF_INET, SockaddrIn};
use abi::netlink::{ARPHRD_LOOPBACK, IFF_SETTABLE, IFF_UP, Ifconf, Ifreq};
use kernel::cred::Cap;
use kernel::io::{Io, UserMemory};
use kernel::task::{DeviceChange, LOOPBACK_INDEX, LOOPBACK_NAME, NetNs};
use kernel::{Op, fail};
use std::net::IpAddr;
use zerocopy::IntoBytes;

/// Reads a struct from the guest, once.
fn read<T: zerocopy::FromBytes + IntoBytes>(memory: &dyn UserMemory, at: u64) -> Op<T> {
    let mut value = T::new_zeroed();
    memory.read(at, value.as_mut_bytes())?;
    Ok(value)
}

fn put(request: &mut Ifreq, value: &[u8]) {
    for (to, from) in request.ifr_ifru.iter_mut().zip(value) {
        *to = *from;
    }
}

fn put_name(request: &mut Ifreq, name: &[u8]) {
    request.ifr_name = [0; 16];
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from;
    }
}

/// The number that a request brings.
fn number(request: &Ifreq) -> i32 {
    let [a, b, c, d, ..] = request.ifr_ifru;
    i32::from_le_bytes([a, b, c, d])
}

/// ENOTTY for what is no request on devices.
pub fn device_ioctl(net: &NetNs, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
    match cmd {
        SIOCGIFCONF => return list(net, memory, arg),
        SIOCGIFNAME => {
            let mut request: Ifreq = read(memory, arg)?;
            if number(&request) != LOOPBACK_INDEX as i32 {
                return fail(Errno::ENODEV);
            }
            put_name(&mut request, LOOPBACK_NAME.as_bytes());
            return memory.write(arg, request.as_bytes()).map(|()| 0);
        }
        SIOCGIFFLAGS | SIOCGIFMTU | SIOCGIFINDEX | SIOCGIFHWADDR | SIOCGIFTXQLEN | SIOCGIFMETRIC | SIOCGIFMAP => {}
        SIOCSIFFLAGS | SIOCSIFMTU | SIOCSIFTXQLEN | SIOCSIFHWADDR | SIOCSIFNAME => {
            if !io.cred.has_in(&net.owner, Cap::NetAdmin) {
                return fail(Errno::EPERM);
            }
        }
        _ => return fail(Errno::ENOTTY),
    }
    let mut request: Ifreq = read(memory, arg)?;
    // Behind a colon is a label's own part.
    let name = request.ifr_name.split(|b| matches!(b, 0 | b':')).next();
    if name != Some(LOOPBACK_NAME.as_bytes()) {
        return fail(Errno::ENODEV);
    }
    if matches!(cmd, SIOCSIFFLAGS | SIOCSIFMTU | SIOCSIFTXQLEN | SIOCSIFHWADDR | SIOCSIFNAME) {
        return set(net, cmd, &request);
    }
    let device = net.loopback.lock();
    match cmd {
        SIOCGIFFLAGS => put(&mut request, &(device.flags() as u16).to_le_bytes()),
        SIOCGIFMTU => put(&mut request, &device.mtu.to_le_bytes()),
        SIOCGIFINDEX => put(&mut request, &LOOPBACK_INDEX.to_le_bytes()),
        SIOCGIFTXQLEN => put(&mut request, &device.queue_len.to_le_bytes()),
        SIOCGIFHWADDR => {
            put(&mut request, &[0; 16]);
            put(&mut request, &ARPHRD_LOOPBACK.to_le_bytes());
        }
        SIOCGIFMAP => put(&mut request, &[0; 24]),
        _ => put(&mut request, &0u32.to_le_bytes()),
    }
    drop(device);
    memory.write(arg, request.as_bytes())?;
    Ok(0)
}

fn set(net: &NetNs, cmd: u32, request: &Ifreq) -> Op<u64> {
    let value = number(request);
    let mut device = net.loopback.lock();
    let changes = match cmd {
        SIOCSIFFLAGS => {
            let flags = u32::from(value as u16);
            if flags & IFF_SETTABLE != 0 {
                return fail(Errno::EOPNOTSUPP);
            }
            device.set_up(flags & IFF_UP != 0)
        }
        SIOCSIFMTU | SIOCSIFTXQLEN => {
            let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
            *if cmd == SIOCSIFMTU { &mut device.mtu } else { &mut device.queue_len } = value;
            vec![DeviceChange::Link(0)]
        }
        _ => return fail(Errno::EOPNOTSUPP),
    };
    drop(device);
    events::tell(net, &changes, [0, 0]);
    Ok(0)
}

/// SIOCGIFCONF: a request for each IPv4 address, as many as there is room for; without room, how much they take.
fn list(net: &NetNs, memory: &dyn UserMemory, arg: u64) -> Op<u64> {
    let mut wanted: Ifconf = read(memory, arg)?;
    let mut out = Vec::new();
    for address in net.loopback.lock().addresses() {
        let IpAddr::V4(ip) = address.ip else { continue };
        let sockaddr = SockaddrIn { sin_family: AF_INET as u16, sin_addr: ip.octets(), ..SockaddrIn::default() };
        let mut request = Ifreq::default();
        put_name(&mut request, &address.label);
        put(&mut request, sockaddr.as_bytes());
        out.extend_from_slice(request.as_bytes());
    }
    if wanted.ifc_buf != 0 {
        let room = usize::try_from(wanted.ifc_len).unwrap_or(0);
        out.truncate(room / size_of::<Ifreq>() * size_of::<Ifreq>());
        memory.write(wanted.ifc_buf, &out)?;
    }
    wanted.ifc_len = out.len() as i32;
    memory.write(arg, wanted.as_bytes())?;
    Ok(0)
}

//! Options of netlink sockets: SOL_NETLINK of netlink(7), and those of socket(7) that are not the same for all families.

use super::NetlinkSocket;
use super::route::GROUPS;
use crate::buffers;
use abi::Errno;
use abi::net::{
    SO_ACCEPTCONN, SO_ERROR, SO_PASSCRED, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE, SOL_SOCKET,
};
use abi::netlink::{
    NETLINK_ADD_MEMBERSHIP, NETLINK_BROADCAST_ERROR, NETLINK_CAP_ACK, NETLINK_DROP_MEMBERSHIP, NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK, NETLINK_KOBJECT_UEVENT, NETLINK_LIST_MEMBERSHIPS, NETLINK_LISTEN_ALL_NSID,
    NETLINK_NO_ENOBUFS, NETLINK_PKTINFO,
};
use kernel::cred::Cap;
use kernel::io::Io;
use kernel::{Op, fail};

/// Options that are on or off. NETLINK_BROADCAST_ERROR changes nothing here: who sends to a group is never told of one that had no room.
const SWITCHES: [u32; 7] = [
    NETLINK_PKTINFO,
    NETLINK_BROADCAST_ERROR,
    NETLINK_NO_ENOBUFS,
    NETLINK_LISTEN_ALL_NSID,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
];

/// The option's number. A value that is too short counts as 0.
fn number(value: &[u8]) -> u32 {
    value.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b))
}

impl NetlinkSocket {
    fn group_count(&self) -> u32 {
        if self.port.protocol == NETLINK_KOBJECT_UEVENT { 32 } else { GROUPS }
    }

    pub(super) fn set_netlink_option(&self, io: &Io<'_>, name: u32, value: &[u8]) -> Op<()> {
        match name {
            NETLINK_ADD_MEMBERSHIP | NETLINK_DROP_MEMBERSHIP => {
                let group = number(value);
                if !(1..=self.group_count()).contains(&group) {
                    return fail(Errno::EINVAL);
                }
                let bit = 1u64 << (group - 1);
                let add = name == NETLINK_ADD_MEMBERSHIP;
                self.space.ports.set_groups(self.key, |old| if add { old | bit } else { old & !bit });
            }
            // Namespaces have no numbers of each other here: there are none whose messages would come.
            NETLINK_LISTEN_ALL_NSID if !io.cred.has_in(&self.port.net.owner, Cap::NetBroadcast) => {
                return fail(Errno::EPERM);
            }
            _ if SWITCHES.contains(&name) => {
                let mut state = self.port.state.lock();
                let on = number(value) != 0;
                state.options = state.options & !(1 << name) | u32::from(on) << name;
            }
            _ => return fail(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    pub(super) fn get_netlink_option(&self, name: u32, room: usize) -> Op<Vec<u8>> {
        if name == NETLINK_LIST_MEMBERSHIPS {
            let (_, groups) = self.space.ports.name(self.key);
            let bytes = (self.group_count() as usize).div_ceil(32) * 4;
            return Ok(groups.to_le_bytes().get(..bytes).unwrap_or_default().to_vec());
        }
        if !SWITCHES.contains(&name) {
            return fail(Errno::ENOPROTOOPT);
        }
        if room < 4 {
            return fail(Errno::EINVAL);
        }
        Ok(u32::from(self.port.state.lock().has(name)).to_le_bytes().to_vec())
    }

    pub(super) fn get_socket_option(&self, level: u32, name: u32) -> Op<Option<Vec<u8>>> {
        if level != SOL_SOCKET {
            return Ok(None);
        }
        let mut state = self.port.state.lock();
        let value = match name {
            SO_ERROR => state.error.take().map_or(0, |e| e.code().into()),
            SO_ACCEPTCONN => 0,
            SO_SNDBUF => state.send_buffer as i32,
            SO_RCVBUF => state.receive_buffer as i32,
            SO_PASSCRED => state.pass_cred.into(),
            _ => return Ok(None),
        };
        Ok(Some(value.to_le_bytes().to_vec()))
    }

    pub(super) fn set_socket_option(&self, io: &Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool> {
        if level != SOL_SOCKET || !matches!(name, SO_SNDBUF | SO_RCVBUF | SO_SNDBUFFORCE | SO_RCVBUFFORCE | SO_PASSCRED)
        {
            return Ok(false);
        }
        let size = buffers::size(io, name, value)?;
        let mut state = self.port.state.lock();
        match name {
            SO_PASSCRED => state.pass_cred = number(value) != 0,
            SO_SNDBUF | SO_SNDBUFFORCE => state.send_buffer = size.max(buffers::SMALLEST_SEND),
            _ => state.receive_buffer = size.max(buffers::SMALLEST_RECEIVE),
        }
        Ok(true)
    }
}

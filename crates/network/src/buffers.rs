//! SO_SNDBUF and SO_RCVBUF of all families, socket(7).

use abi::Errno;
use abi::net::{SO_RCVBUFFORCE, SO_SNDBUFFORCE};
use kernel::cred::Cap;
use kernel::io::Io;
use kernel::{Op, fail};

/// The most that they take, /proc/sys/net/core/wmem_max and rmem_max; kept doubled.
const MAX_BUFFER: usize = 212_992;
/// The least that is made of a value.
pub const SMALLEST_SEND: usize = 4608;
pub const SMALLEST_RECEIVE: usize = 2304;

/// What an option's value asks for. EPERM for a forced one without CAP_NET_ADMIN; EINVAL.
pub fn size(io: &Io<'_>, name: u32, value: &[u8]) -> Op<usize> {
    if matches!(name, SO_SNDBUFFORCE | SO_RCVBUFFORCE) && !io.cred.has(Cap::NetAdmin) {
        return fail(Errno::EPERM);
    }
    let number = value.first_chunk::<4>().map(|b| i32::from_le_bytes(*b)).ok_or(Errno::EINVAL)?;
    // A negative size is a very large one, but where it is forced.
    let asked = if matches!(name, SO_SNDBUFFORCE | SO_RCVBUFFORCE) { number.max(0) as u32 } else { number as u32 };
    Ok((asked as usize).min(MAX_BUFFER) * 2)
}

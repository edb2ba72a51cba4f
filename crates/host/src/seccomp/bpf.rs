//! Instructions of a seccomp filter (seccomp(2)) by name, and a run of such a program for tests.
//!
//! Neighbours: `lockdown` (filters of our own processes), `platform::filter` (that of guest code). Owns no locks.

use libc::sock_filter;

pub const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
pub const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
pub const TRAP: u32 = libc::SECCOMP_RET_TRAP;
/// The call is made if a tracer allows it; without one it fails with ENOSYS.
pub const TRACE: u32 = libc::SECCOMP_RET_TRACE;
pub const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
pub const ARCH_X86_64: u32 = 0xc000_003e;

/// The call fails with this error number.
pub const fn errno(code: u32) -> u32 {
    libc::SECCOMP_RET_ERRNO | code
}

/// Offsets in struct seccomp_data.
pub const NR: u32 = 0;
pub const ARCH: u32 = 4;
pub const IP_LOW: u32 = 8;
pub const IP_HIGH: u32 = 12;
/// Low half of the n-th argument; the high half lies 4 bytes on.
pub const fn arg(n: u32) -> u32 {
    16 + 8 * n
}

const fn ins(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
/// Loads a word of seccomp_data.
pub const fn load(offset: u32) -> sock_filter {
    ins(0x20, 0, 0, offset)
}
pub const fn ret(action: u32) -> sock_filter {
    ins(0x06, 0, 0, action)
}
pub const fn and(mask: u32) -> sock_filter {
    ins(0x54, 0, 0, mask)
}
/// Jumps: `yes` or `no` instructions are left out.
pub const fn equal(k: u32, yes: u8, no: u8) -> sock_filter {
    ins(0x15, yes, no, k)
}
pub const fn at_least(k: u32, yes: u8, no: u8) -> sock_filter {
    ins(0x35, yes, no, k)
}
pub const fn above(k: u32, yes: u8, no: u8) -> sock_filter {
    ins(0x25, yes, no, k)
}
pub const fn any_bit(k: u32, yes: u8, no: u8) -> sock_filter {
    ins(0x45, yes, no, k)
}

/// Runs a program on a call as the host would, so that a filter can be tested against arbitrary arguments. `None`: the host would refuse the program.
pub fn run(program: &[sock_filter], arch: u32, nr: u32, ip: u64, args: [u64; 6]) -> Option<u32> {
    let word = |offset: u32| match offset {
        NR => Some(nr),
        ARCH => Some(arch),
        IP_LOW => Some(ip as u32),
        IP_HIGH => Some((ip >> 32) as u32),
        o if (16..64).contains(&o) && o % 4 == 0 => {
            let value = args.get((o as usize - 16) / 8)?;
            Some(if o % 8 == 0 { *value as u32 } else { (*value >> 32) as u32 })
        }
        _ => None,
    };
    let (mut pc, mut a) = (0usize, 0u32);
    loop {
        let i = program.get(pc)?;
        pc += 1;
        let test = match i.code {
            0x20 => {
                a = word(i.k)?;
                continue;
            }
            0x54 => {
                a &= i.k;
                continue;
            }
            0x06 => return Some(i.k),
            0x15 => a == i.k,
            0x35 => a >= i.k,
            0x25 => a > i.k,
            0x45 => a & i.k != 0,
            _ => return None,
        };
        pc += usize::from(if test { i.jt } else { i.jf });
    }
}

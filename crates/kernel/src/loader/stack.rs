//! The stack that a program starts with: argument count, pointers, auxiliary vector, strings. getauxval(3).
//!
//! From the top: a null word, the name exec was asked for, environment, arguments, platform name, random bytes; then, aligned to
//! 16, upwards from the stack pointer: argc, argv, null, envp, null, auxv.

use super::segments::Loaded;
use super::{ArgStrings, Ids, Random};
use abi::Errno;
use abi::auxv::*;
use std::ops::Range;

/// What the auxiliary vector tells.
pub struct Info<'a> {
    pub ids: Ids,
    /// Where the interpreter is loaded; 0 for none.
    pub base: u64,
    pub loaded: &'a Loaded,
    /// Address of the vdso; 0 for none.
    pub vdso: u64,
    pub random: &'a Random,
}

/// A stack image.
pub struct Stack {
    pub sp: u64,
    /// What lies from `sp` to the stack's end.
    pub bytes: Vec<u8>,
    pub args: Range<u64>,
    pub env: Range<u64>,
    pub auxv: Vec<u8>,
}

/// Room that a program must at least find below its arguments.
const RESERVE: u64 = 64 << 10;

/// Builds the image for a stack that takes `range`. E2BIG where it does not fit.
pub fn build(
    args: &ArgStrings,
    name: &[u8],
    info: &Info<'_>,
    range: Range<u64>,
    randomize: bool,
) -> Result<Stack, Errno> {
    let mut strings = Strings::new(range.end);
    strings.push_bytes(&[0; 8]);
    let name_at = strings.push(name);
    let env_end = name_at;
    let env: Vec<u64> = args.envp.iter().rev().map(|s| strings.push(s)).collect();
    let env_start = strings.at;
    let argv: Vec<u64> = args.argv.iter().rev().map(|s| strings.push(s)).collect();
    let args_start = strings.at;
    if randomize {
        // Cache lines of different processes shall not fall together.
        let [.., gap] = info.random.places;
        strings.align(16);
        strings.push_bytes(&vec![0; (gap & 0x1ff0) as usize]);
    }
    let platform = strings.push(b"x86_64");
    strings.align(16);
    let random = strings.push_bytes(&info.random.bytes);

    let auxv = auxv(info, name_at, platform, random);
    let words = 1 + argv.len() + 1 + env.len() + 1;
    let below = words as u64 * 8 + auxv.len() as u64;
    let low = range.start.saturating_add(RESERVE);
    let sp = strings.at.checked_sub(below).ok_or(Errno::E2BIG)? & !15;
    if sp < low {
        return Err(Errno::E2BIG);
    }
    let mut bytes = Vec::with_capacity((range.end - sp) as usize);
    let mut word = |w: u64| bytes.extend_from_slice(&w.to_ne_bytes());
    word(argv.len() as u64);
    argv.iter().rev().for_each(|p| word(*p));
    word(0);
    env.iter().rev().for_each(|p| word(*p));
    word(0);
    bytes.extend_from_slice(&auxv);
    bytes.resize((strings.at - sp) as usize, 0);
    bytes.extend_from_slice(&strings.into_bytes());
    Ok(Stack { sp, bytes, args: args_start..env_start, env: env_start..env_end, auxv })
}

/// The auxiliary vector's pairs, in Linux' order.
fn auxv(info: &Info<'_>, name: u64, platform: u64, random: u64) -> Vec<u8> {
    // The guest runs on the host's processor; its capabilities are the host's.
    let (hwcap, hwcap2) = host::rustix::param::linux_hwcap();
    let mut pairs = Vec::with_capacity(24);
    if info.vdso != 0 {
        pairs.push((AT_SYSINFO_EHDR, info.vdso));
    }
    let frame = host::rustix::param::linux_minsigstksz() as u64;
    if frame != 0 {
        pairs.push((AT_MINSIGSTKSZ, frame));
    }
    pairs.extend([
        (AT_HWCAP, hwcap as u64),
        (AT_PAGESZ, abi::mm::PAGE_SIZE),
        (AT_CLKTCK, abi::time::USER_HZ as u64),
        (AT_PHDR, info.loaded.phdr),
        (AT_PHENT, 56),
        (AT_PHNUM, info.loaded.phnum.into()),
        (AT_BASE, info.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, info.loaded.entry),
        (AT_UID, info.ids.uid.into()),
        (AT_EUID, info.ids.euid.into()),
        (AT_GID, info.ids.gid.into()),
        (AT_EGID, info.ids.egid.into()),
        (AT_SECURE, info.ids.secure.into()),
        (AT_RANDOM, random),
        (AT_HWCAP2, hwcap2 as u64),
        (AT_EXECFN, name),
        (AT_PLATFORM, platform),
        (AT_NULL, 0),
    ]);
    pairs.iter().flat_map(|(key, value)| [u64::from(*key), *value]).flat_map(u64::to_ne_bytes).collect()
}

/// Bytes that are laid down from an address downwards.
struct Strings {
    /// Reversed: the last byte of memory first.
    reversed: Vec<u8>,
    at: u64,
}

impl Strings {
    fn new(end: u64) -> Strings {
        Strings { reversed: Vec::new(), at: end }
    }

    /// Lays bytes down; returns their address.
    fn push_bytes(&mut self, bytes: &[u8]) -> u64 {
        self.reversed.extend(bytes.iter().rev());
        self.at = self.at.saturating_sub(bytes.len() as u64);
        self.at
    }

    /// Lays a string down with its zero; returns its address.
    fn push(&mut self, text: &[u8]) -> u64 {
        self.push_bytes(&[0]);
        self.push_bytes(text)
    }

    fn align(&mut self, to: u64) {
        while !self.at.is_multiple_of(to) {
            self.push_bytes(&[0]);
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.reversed.reverse();
        self.reversed
    }
}

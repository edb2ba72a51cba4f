//! The data options of a tmpfs mount, tmpfs(5): size, nr_blocks, nr_inodes, mode, uid, gid.

use super::PAGE;
use abi::Errno;
use kernel::op::{Op, fail};

/// What a tmpfs is made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes for contents; None: half of the memory.
    pub size: Option<u64>,
    pub inodes: Option<u64>,
    /// Permissions of the root folder.
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Options {
    /// These with those of a mount's data string put over them. `memory` is what a percentage is of. EINVAL for what is unknown or
    /// malformed.
    pub fn parsed(mut self, data: &[u8], memory: u64) -> Op<Options> {
        for option in data.split(|b| *b == b',').filter(|o| !o.is_empty()) {
            let text = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            match key {
                "size" => {
                    self.size = match value.strip_suffix('%') {
                        Some(part) => Some((memory / 100).checked_mul(number(part)?).ok_or(Errno::EINVAL)?),
                        None => unlimited(number(value)?.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL)?),
                    }
                }
                "nr_blocks" => self.size = unlimited(number(value)?.checked_mul(PAGE).ok_or(Errno::EINVAL)?),
                "nr_inodes" => self.inodes = unlimited(number(value)?),
                "mode" => {
                    self.perm = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
                }
                "uid" => self.uid = id(value)?,
                "gid" => self.gid = id(value)?,
                // What Linux takes and this file system is free to do as it likes with.
                "huge" | "mpol" | "inode32" | "inode64" | "noswap" | "swap" => {}
                _ => return fail(Errno::EINVAL),
            }
        }
        Ok(self)
    }
}

/// What is nobody's.
pub(super) const NO_ID: u32 = u32::MAX;

fn id(text: &str) -> Op<u32> {
    Ok(text.parse().ok().filter(|id| *id != NO_ID).ok_or(Errno::EINVAL)?)
}

/// 0 means without limit.
fn unlimited(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

/// A number with one of the suffixes k, m, g, t, p, e.
fn number(text: &str) -> Op<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return fail(Errno::EINVAL),
    };
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    Ok(value.checked_mul(1 << shift).ok_or(Errno::EINVAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::option_strings;
    use proptest::prelude::*;

    const NONE: Options = Options { size: None, inodes: None, perm: 0, uid: 0, gid: 0 };

    #[test]
    fn shares_of_the_memory_that_are_no_number_are_refused() {
        assert_eq!(NONE.parsed(b"size=50%", 1000).map(|o| o.size), Ok(Some(500)));
        assert_eq!(NONE.parsed(b"size=99999999999999999%", 1 << 40).map(|o| o.size), fail(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in option_strings(&[
            "size=1m", "size=50%", "size=18446744073709551615", "size=16e", "nr_blocks=1", "nr_blocks=99999999999999999",
            "nr_inodes=5k", "mode=1777", "uid=0", "gid=4294967295", "huge=always", "mpol=x",
        ])) {
            if let Ok(options) = NONE.parsed(&text, 1 << 34) {
                prop_assert!(options.perm <= 0o7777 && options.size != Some(0) || text.windows(2).any(|w| w == b"0%"));
            }
        }
    }
}

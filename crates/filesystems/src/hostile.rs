//! Strings of mount options for the tests of their parsers: what is known, in any order, damaged, and in between what nobody knows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Strings made of `known` options.
pub(crate) fn option_strings(known: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let odd = vec![&b""[..], b"=", b"==", b",", b"x=y", b"\\", b"\\,", b"\xff\xfe", b"\0", b"size", b"-1", b"%", b"+1"];
    let part = prop_oneof![
        6 => select(known).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(odd).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..12),
    ];
    (vec(part, 0..8), vec((any::<Index>(), any::<u8>()), 0..3)).prop_map(|(parts, damage)| {
        let mut text = parts.join(&b","[..]);
        for (at, to) in damage {
            if !text.is_empty() {
                *at.get_mut(text.as_mut_slice()) = to;
            }
        }
        text
    })
}

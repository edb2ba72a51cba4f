//! Netlink messages as bytes: taking requests apart, putting answers together. netlink(7), rtnetlink(7).
//!
//! What comes from a guest is a copy already; nothing in it is believed.

use abi::Errno;
use abi::netlink::{
    NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_MSG, NlMsgHdr,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The length of a message's header.
pub const HEADER: usize = size_of::<NlMsgHdr>();
/// The most that messages of a dump are packed into: programs read with a page.
const PACK: usize = 3776;

/// A request as it came, whole.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    pub header: NlMsgHdr,
    pub bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// What follows the header.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

/// The messages of a datagram, up to the first whose length cannot be.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Raw<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = NlMsgHdr::read_from_prefix(bytes).ok()?;
        let len = header.nlmsg_len as usize;
        let whole = bytes.get(..len).filter(|_| len >= HEADER)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Raw { header, bytes: whole })
    })
}

/// Type and value of each attribute, up to the first whose length cannot be.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([len, kind], _) = <[u16; 2]>::read_from_prefix(bytes).ok()?;
        let value = bytes.get(4..usize::from(len))?;
        bytes = bytes.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        Some((kind & NLA_TYPE_MASK, value))
    })
}

/// The last attribute of a type, as Linux takes them.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).filter(|(k, _)| *k == kind).last().map(|(_, value)| value)
}

/// A number in an attribute. EINVAL for one that is too short.
pub fn number(value: &[u8]) -> Result<u32, Refusal> {
    Ok(value.first_chunk::<4>().map(|b| u32::from_le_bytes(*b)).ok_or(Errno::EINVAL)?)
}

/// A text in an attribute, up to a zero.
pub fn text(value: &[u8]) -> &[u8] {
    value.split(|b| *b == 0).next().unwrap_or_default()
}

/// A fixed part with the attributes behind it.
pub fn split<T: FromBytes + Immutable>(body: &[u8]) -> Option<(T, &[u8])> {
    let (fixed, _) = T::read_from_prefix(body).ok()?;
    Some((fixed, body.get(size_of::<T>().next_multiple_of(4)..).unwrap_or_default()))
}

/// Why a request fails: the errno, and what NETLINK_EXT_ACK tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub errno: Errno,
    pub why: Option<&'static str>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal { errno, why: None }
    }
}

/// Shorthand for `Err(Refusal { .. })`.
pub fn refuse<T>(errno: Errno, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { errno, why: Some(why) })
}

/// A message that is being put together.
pub struct Builder(Vec<u8>);

impl Builder {
    pub fn new(kind: u16, flags: u16, seq: u32, pid: u32, fixed: &[u8]) -> Builder {
        let header = NlMsgHdr { nlmsg_len: 0, nlmsg_type: kind, nlmsg_flags: flags, nlmsg_seq: seq, nlmsg_pid: pid };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(fixed);
        Builder(bytes)
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Builder {
        self.pad();
        self.0.extend_from_slice(&((value.len() + 4) as u16).to_le_bytes());
        self.0.extend_from_slice(&kind.to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Builder {
        self.attr(kind, &value.to_le_bytes())
    }

    pub fn attr_text(&mut self, kind: u16, text: &[u8]) -> &mut Builder {
        self.attr(kind, &[text, &[0]].concat())
    }

    /// The bytes; padding behind the last attribute counts, as on Linux.
    pub fn build(mut self) -> Vec<u8> {
        self.pad();
        let len = (self.0.len() as u32).to_le_bytes();
        if let Some(place) = self.0.first_chunk_mut::<4>() {
            *place = len;
        }
        self.0
    }
}

/// What a socket asked for by its options.
#[derive(Clone, Copy, Default)]
pub struct AckOptions {
    /// NETLINK_CAP_ACK: no copy of the request.
    pub capped: bool,
    /// NETLINK_EXT_ACK: texts.
    pub extended: bool,
}

/// NLMSG_ERROR: the answer to a request that failed, or asked for one.
pub fn ack(request: &Raw<'_>, pid: u32, result: Result<(), Refusal>, options: AckOptions) -> Vec<u8> {
    let refusal = result.err();
    let code = refusal.map_or(0, |r| -i32::from(r.errno.code()));
    let whole = refusal.is_some() && !options.capped;
    let why = refusal.and_then(|r| r.why).filter(|_| options.extended);
    let mut flags = if whole { 0 } else { NLM_F_CAPPED };
    if why.is_some() {
        flags |= NLM_F_ACK_TLVS;
    }
    let copied = if whole { request.bytes } else { request.header.as_bytes() };
    let fixed = [&code.to_le_bytes(), copied].concat();
    let mut answer = Builder::new(NLMSG_ERROR, flags, request.header.nlmsg_seq, pid, &fixed);
    if let Some(why) = why {
        answer.attr_text(NLMSGERR_ATTR_MSG, why.as_bytes());
    }
    answer.build()
}

/// The datagrams of a dump: its messages, packed, and the NLMSG_DONE that ends it.
pub fn dump(
    request: &Raw<'_>,
    pid: u32,
    result: Result<(Vec<Vec<u8>>, u16), Refusal>,
    options: AckOptions,
) -> Vec<Vec<u8>> {
    let (messages, mut flags, refusal) = match result {
        Ok((messages, flags)) => (messages, flags, None),
        Err(refusal) => (Vec::new(), 0, Some(refusal)),
    };
    let mut out: Vec<Vec<u8>> = Vec::new();
    for message in messages {
        match out.last_mut() {
            Some(last) if last.len() + message.len() <= PACK => last.extend_from_slice(&message),
            _ => out.push(message),
        }
    }
    let code = refusal.map_or(0, |r| -i32::from(r.errno.code()));
    let why = refusal.and_then(|r| r.why).filter(|_| options.extended);
    if why.is_some() {
        flags |= NLM_F_ACK_TLVS;
    }
    let mut done = Builder::new(NLMSG_DONE, NLM_F_MULTI | flags, request.header.nlmsg_seq, pid, &code.to_le_bytes());
    if let Some(why) = why {
        done.attr_text(NLMSGERR_ATTR_MSG, why.as_bytes());
    }
    out.push(done.build());
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_can_be_taken_apart() {
        let mut one = Builder::new(16, 5, 7, 8, &[1; 16]);
        one.attr_text(3, b"lo").attr_u32(4, 9);
        let one = one.build();
        assert_eq!(one.len(), 16 + 16 + 8 + 8);
        let two = Builder::new(17, 0, 9, 0, b"x").build();
        let both = [one.as_slice(), &two].concat();
        let found: Vec<_> = messages(&both).collect();
        assert_eq!(found.iter().map(|m| m.header.nlmsg_type).collect::<Vec<_>>(), [16, 17]);
        let (fixed, rest) = split::<[u8; 16]>(found[0].body()).unwrap();
        assert_eq!(fixed, [1; 16]);
        assert_eq!(attributes(rest).collect::<Vec<_>>(), [(3, b"lo\0".as_slice()), (4, &[9, 0, 0, 0])]);
        assert_eq!(text(attribute(rest, 3).unwrap()), b"lo");
    }

    #[test]
    fn lengths_that_cannot_be_end_it() {
        let mut bytes = Builder::new(16, 0, 0, 0, b"").build();
        for len in [0u32, 15, 17, u32::MAX] {
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            assert_eq!(messages(&bytes).count(), 0);
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 5, 5]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0x80]).collect::<Vec<_>>(), [(1, b"".as_slice())]);
    }

    #[test]
    fn acknowledgements_as_linux_has_them() {
        let bytes = Builder::new(18, 5, 7, 0, &[0; 4]).build();
        let request = messages(&bytes).next().unwrap();
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let extended = AckOptions { extended: true, capped: false };
        assert_eq!(
            hex(ack(&request, 0x1234, Ok(()), extended)),
            "24000000020000010700000034120000000000001400000012000500070000000000000000000000"[..72]
        );
        let refused = Err(Refusal { errno: Errno::EINVAL, why: Some("Invalid header for get link") });
        assert_eq!(
            hex(ack(&request, 0x1234, refused, extended)),
            "48000000020000020700000034120000eaffffff140000001200050007000000000000000000000020000100496e76616c69642068656164657220666f7220676574206c696e6b00"
        );
        assert_eq!(ack(&request, 1, refused, AckOptions::default()).len(), 16 + 4 + 20);
        assert_eq!(ack(&request, 1, refused, AckOptions { extended: false, capped: true }).len(), 16 + 4 + 16);
    }

    #[test]
    fn dumps_are_packed_and_ended() {
        let bytes = Builder::new(18, 0x301, 7, 0, &[0; 4]).build();
        let request = messages(&bytes).next().unwrap();
        let many = vec![vec![0; 1000]; 4];
        let parts = dump(&request, 1, Ok((many, 0)), AckOptions::default());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3000, 1000, 20]);
        let parts = dump(&request, 1, Err(Errno::EINVAL.into()), AckOptions::default());
        assert_eq!(parts[0][16..], (-22i32).to_le_bytes());
    }
}

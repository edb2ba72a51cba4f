//! Requests and replies as they go over a channel: postcard, one message each.
//!
//! Lengths are bounded by `MAX_MESSAGE` as a whole, and by `check` one by one.

use crate::bounds::*;
use crate::types::*;
use abi::Errno;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What the kernel process sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Handles used no more; dropped before the request is served.
    pub forget: Vec<Handle>,
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first request on the first channel. Answer: `Reply::Hello`.
    Hello {
        version: u32,
    },
    /// Asks for another channel; its socket comes with the answer.
    Channel,
    Walk {
        from: Handle,
        path: Vec<Bytes>,
    },
    Open {
        from: Handle,
        path: Vec<Bytes>,
        how: OpenHow,
    },
    List {
        from: Handle,
        path: Vec<Bytes>,
        cursor: u64,
    },
    Change(Vec<Change>),
    /// Only the envelope's `forget` matters.
    Forget,
    Attr {
        of: Handle,
    },
    ReadLink {
        of: Handle,
    },
    GetXattr {
        of: Handle,
        name: Bytes,
    },
    ListXattr {
        of: Handle,
    },
    Statfs {
        of: Handle,
    },
    Sync {
        of: Handle,
        how: SyncHow,
    },
    /// Asks for the folder itself; its descriptor comes with the answer.
    Donate {
        mount: u32,
    },
    /// Asks for a new file without a name, for contents of an overlay's upper layer; its descriptor comes with the answer.
    Scratch {
        mount: u32,
    },
    /// Asks for a socket (of type SOCK_*) that is connected to the one with this name; it comes with the answer.
    Connect {
        of: Handle,
        kind: u32,
    },
    /// Asks for a socket that is bound to a new name; it comes with the answer, which is that of `Open`.
    Bind {
        dir: Handle,
        name: Bytes,
        kind: u32,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

/// What the gofer answers; an error number (1 to 4095) in place of it where the request as a whole failed.
pub type Reply = Result<Done, u16>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    Hello {
        version: u32,
        mounts: Vec<MountInfo>,
    },
    /// Of `Channel`, `Forget`, `Sync`, `Scratch` and `Connect`.
    Nothing,
    Walked(Walked),
    /// With a descriptor where there are no `contents`.
    Opened {
        handle: Option<Handle>,
        attr: Attr,
        created: bool,
        dir: Option<Attr>,
        contents: Option<Bytes>,
    },
    Listing(Listing),
    Changed(Vec<Result<Changed, u16>>),
    Attr(Attr),
    /// A link's target, an attribute's value or attributes' names.
    Bytes(Bytes),
    Statfs(Statfs),
    /// With a descriptor.
    Donated {
        covered: Vec<(u64, u64)>,
        same_ids: bool,
    },
}

/// Writes a message behind what `into` holds. EMSGSIZE when it is longer than `MAX_MESSAGE`.
pub fn encode<T: Serialize>(message: &T, into: &mut Vec<u8>) -> Result<(), Errno> {
    let bytes = postcard::to_extend(message, std::mem::take(into)).map_err(|_| Errno::EIO)?;
    *into = bytes;
    if into.len() > MAX_MESSAGE { Err(Errno::EMSGSIZE) } else { Ok(()) }
}

/// Reads a whole message; EPROTO when it is none, or has bytes left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Errno> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn samples() -> Vec<Envelope> {
        let name = || Bytes::from(&b"name"[..]);
        let h = Handle(7);
        let requests = vec![
            Request::Hello { version: VERSION },
            Request::Walk { from: h, path: vec![name(), name()] },
            Request::Open {
                from: h,
                path: vec![name()],
                how: OpenHow { read: true, inline: 100, ..OpenHow::default() },
            },
            Request::Change(vec![
                Change::Symlink { dir: h, name: name(), target: name(), uid: 1, gid: 2 },
                Change::SetAttr { node: h, set: SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() } },
            ]),
        ];
        requests.into_iter().map(|request| Envelope { forget: vec![Handle(1), Handle(u64::MAX)], request }).collect()
    }

    #[test]
    fn messages_come_back_as_they_were() {
        for sample in samples() {
            let mut bytes = Vec::new();
            encode(&sample, &mut bytes).unwrap();
            assert_eq!(decode::<Envelope>(&bytes).unwrap(), sample);
            sample.request.check().unwrap();
        }
    }

    #[test]
    fn truncated_messages_are_refused() {
        for sample in samples() {
            let mut bytes = Vec::new();
            encode(&sample, &mut bytes).unwrap();
            for end in 0..bytes.len() {
                assert_eq!(decode::<Envelope>(&bytes[..end]), Err(Errno::EPROTO));
            }
            bytes.push(0);
            assert_eq!(decode::<Envelope>(&bytes), Err(Errno::EPROTO));
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let len = (random() % 200) as usize;
            let mut bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            // Half of them begin as a real message does, so that they get further.
            if random() % 2 == 0 && len > 3 {
                bytes[0] = 0;
                bytes[1] = (random() % 14) as u8;
            }
            if let Ok(envelope) = decode::<Envelope>(&bytes) {
                let _ = envelope.request.check();
            }
            let _ = decode::<Reply>(&bytes);
        }
    }
}

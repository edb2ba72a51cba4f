//! Guest buffers as sources and sinks, readv(2): lists of address and length.

use super::Mm;
use crate::io::{LARGE, Sink, Source};
use crate::op::{Op, fail};
use abi::Errno;
use host::HostFd;
use platform::FileRead;
use std::sync::Arc;

/// A list of guest buffers with a position.
pub struct UserBuffers {
    mm: Arc<Mm>,
    parts: Vec<(u64, usize)>,
    /// Bytes already passed, from the first buffer on.
    at: usize,
    total: usize,
    /// What the calling thread's stub is to read by itself.
    read: Option<FileRead>,
}

impl UserBuffers {
    /// One buffer. Linux' bound of 0x7ffff000 bytes a call applies.
    pub fn one(mm: Arc<Mm>, at: u64, len: u64) -> UserBuffers {
        let len = len.min(0x7fff_f000) as usize;
        UserBuffers { mm, parts: vec![(at, len)], at: 0, total: len, read: None }
    }

    /// An iovec array; EINVAL where a length is negative or the sum is beyond SSIZE_MAX.
    pub fn many(mm: Arc<Mm>, iov: &[[u64; 2]]) -> Op<UserBuffers> {
        let mut left = 0x7fff_f000usize;
        let mut parts = Vec::with_capacity(iov.len());
        let mut sum = 0u64;
        for [at, len] in iov {
            sum = sum.saturating_add(*len);
            if *len > i64::MAX as u64 || sum > i64::MAX as u64 {
                return fail(Errno::EINVAL);
            }
            let len = (*len).min(left as u64) as usize;
            left -= len;
            parts.push((*at, len));
        }
        let total = parts.iter().map(|p| p.1).sum();
        Ok(UserBuffers { mm, parts, at: 0, total, read: None })
    }

    /// Goes on `count` bytes further: what an earlier run of the call has done.
    pub fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count as usize).min(self.total);
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// The file that is to be read in place of what would have been put: the call's answer.
    pub fn file_read(&mut self) -> Option<FileRead> {
        self.read.take()
    }

    /// The rest of the buffer that the position is in: address and bytes.
    fn part(&self) -> Option<(u64, usize)> {
        let mut skip = self.at;
        for &(at, len) in &self.parts {
            if skip < len {
                return Some((at.wrapping_add(skip as u64), len - skip));
            }
            skip -= len;
        }
        None
    }
}

impl Sink for UserBuffers {
    fn left(&self) -> usize {
        self.total - self.at
    }
    fn put(&mut self, data: &[u8]) -> Op<usize> {
        let mut done = 0;
        while let (Some(rest), Some((at, len))) = (data.get(done..).filter(|r| !r.is_empty()), self.part()) {
            let chunk = rest.get(..len.min(rest.len())).unwrap_or_default();
            let count = match self.mm.write(at, chunk) {
                Ok(count) => count,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            done += count;
            self.at += count;
            if count < chunk.len() {
                break;
            }
        }
        Ok(done)
    }
    fn take_from(&mut self, file: &Arc<HostFd>, at: u64, len: u64) -> Option<usize> {
        let [(addr, room)] = *self.parts else { return None };
        let len = len.min(room as u64);
        let space = self.mm.space();
        if self.at > 0 || len < LARGE as u64 || addr.checked_add(len)? > space.user_top() {
            return None;
        }
        self.read = Some(FileRead { number: space.number_for_caller(file, len)?, addr, len, at });
        self.at = len as usize;
        Some(len as usize)
    }
}

impl Source for UserBuffers {
    fn left(&self) -> usize {
        self.total - self.at
    }
    fn take(&mut self, into: &mut [u8]) -> Op<usize> {
        let mut done = 0;
        while done < into.len() {
            let Some((at, len)) = self.part() else { break };
            let want = len.min(into.len() - done);
            let Some(chunk) = into.get_mut(done..done + want) else { break };
            let count = match self.mm.read(at, chunk) {
                Ok(count) => count,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            done += count;
            self.at += count;
            if count < want {
                break;
            }
        }
        Ok(done)
    }
    fn untake(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
    }
}

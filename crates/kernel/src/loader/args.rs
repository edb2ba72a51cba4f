//! Argument and environment strings of execve(2), and how long they may be.

use super::script::Line;
use crate::mm::Mm;
use crate::op::{Op, fail};
use abi::Errno;

/// The longest single string, its zero included: MAX_ARG_STRLEN.
const MAX_STRING: usize = 131_072;
/// All strings and pointers may always take this much, and never more than the second: ARG_MAX, and three quarters of 8 MiB.
const MIN_TOTAL: u64 = 131_072;
const MAX_TOTAL: u64 = 6 << 20;

/// Arguments and environment, without their zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgStrings {
    pub argv: Vec<Vec<u8>>,
    pub envp: Vec<Vec<u8>>,
    /// Bytes that strings and pointers may take.
    limit: u64,
}

impl ArgStrings {
    /// Arguments that do not come from a guest's memory (a container's first process). E2BIG where they are too long for a stack
    /// limit (RLIMIT_STACK) of `stack_limit`.
    pub fn new(argv: Vec<Vec<u8>>, envp: Vec<Vec<u8>>, stack_limit: u64) -> Result<ArgStrings, Errno> {
        let args = ArgStrings { argv, envp, limit: (stack_limit / 4).clamp(MIN_TOTAL, MAX_TOTAL) };
        args.check()?;
        Ok(args)
    }

    /// Makes them those of a script's interpreter: its name, its argument, the script, the script's arguments but the first.
    pub(super) fn interpret(&mut self, line: &Line, script: &[u8]) -> Result<(), Errno> {
        let mut head = vec![line.interpreter.clone()];
        head.extend(line.argument.clone());
        head.push(script.to_vec());
        let drop = self.argv.len().min(1);
        self.argv.splice(..drop, head);
        self.check()
    }

    fn check(&self) -> Result<(), Errno> {
        let mut total = 0u64;
        for string in self.argv.iter().chain(&self.envp) {
            if string.len() >= MAX_STRING {
                return Err(Errno::E2BIG);
            }
            total += string.len() as u64 + 1 + 8;
        }
        if total > self.limit { Err(Errno::E2BIG) } else { Ok(()) }
    }
}

/// Reads the two arrays of string pointers from guest memory. A null array is an empty one.
pub fn read_args(mm: &Mm, argv: u64, envp: u64, stack_limit: u64) -> Op<ArgStrings> {
    let mut args = ArgStrings::new(Vec::new(), Vec::new(), stack_limit)?;
    let mut reader = Reader { mm, page: 1, data: Vec::new(), left: args.limit };
    args.argv = reader.array(argv)?;
    args.envp = reader.array(envp)?;
    Ok(args)
}

const PAGE: u64 = 4096;

/// Reads guest memory by whole pages and keeps the last one: strings mostly lie one after another.
struct Reader<'a> {
    mm: &'a Mm,
    /// Address of the page in `data`; 1 for none.
    page: u64,
    data: Vec<u8>,
    left: u64,
}

impl Reader<'_> {
    /// What lies from `at` on, to the end of its page at most; at least one byte.
    fn rest_of_page(&mut self, at: u64) -> Op<&[u8]> {
        let page = at & !(PAGE - 1);
        if self.page != page {
            self.page = 1;
            self.data.resize(PAGE as usize, 0);
            let got = self.mm.read(page, &mut self.data)?;
            self.data.truncate(got);
            self.page = page;
        }
        match self.data.get((at - page) as usize..) {
            Some(rest) if !rest.is_empty() => Ok(rest),
            _ => fail(Errno::EFAULT),
        }
    }

    fn word(&mut self, at: u64) -> Op<u64> {
        if let Some(bytes) = self.rest_of_page(at)?.first_chunk() {
            return Ok(u64::from_ne_bytes(*bytes));
        }
        let mut bytes = [0; 8];
        self.mm.read_exact(at, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn spend(&mut self, bytes: u64) -> Op<()> {
        self.left = self.left.checked_sub(bytes).ok_or(Errno::E2BIG)?;
        Ok(())
    }

    fn string(&mut self, at: u64) -> Op<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = at;
        loop {
            let rest = self.rest_of_page(at)?;
            if let Some(end) = rest.iter().position(|b| *b == 0) {
                out.extend_from_slice(rest.get(..end).unwrap_or_default());
                if out.len() >= MAX_STRING {
                    return fail(Errno::E2BIG);
                }
                self.spend(out.len() as u64 + 1)?;
                return Ok(out);
            }
            out.extend_from_slice(rest);
            at = at.checked_add(rest.len() as u64).ok_or(Errno::EFAULT)?;
            if out.len() >= MAX_STRING {
                return fail(Errno::E2BIG);
            }
        }
    }

    fn array(&mut self, at: u64) -> Op<Vec<Vec<u8>>> {
        // Pointers first: they lie together, as the strings do.
        let mut pointers = Vec::new();
        let mut at = at;
        while at != 0 {
            let pointer = self.word(at)?;
            if pointer == 0 {
                break;
            }
            self.spend(8)?;
            pointers.push(pointer);
            at = at.checked_add(8).ok_or(Errno::EFAULT)?;
        }
        pointers.into_iter().map(|p| self.string(p)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<Vec<u8>> {
        list.iter().map(|s| s.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_script_takes_the_place_of_the_first_argument() {
        let mut args = ArgStrings::new(strings(&["me", "a"]), strings(&["E=1"]), 8 << 20).unwrap();
        let line = Line { interpreter: b"/bin/sh".to_vec(), argument: Some(b"-x".to_vec()) };
        args.interpret(&line, b"/s").unwrap();
        assert_eq!(args.argv, strings(&["/bin/sh", "-x", "/s", "a"]));
        let mut none = ArgStrings::new(Vec::new(), Vec::new(), 0).unwrap();
        none.interpret(&line, b"/s").unwrap();
        assert_eq!(none.argv, strings(&["/bin/sh", "-x", "/s"]));
    }

    #[test]
    fn limits() {
        let big = vec![b'a'; MAX_STRING - 1];
        assert_eq!(ArgStrings::new(vec![big.clone()], Vec::new(), 0), Err(Errno::E2BIG));
        assert!(ArgStrings::new(vec![big.clone()], Vec::new(), 8 << 20).is_ok());
        assert_eq!(ArgStrings::new(vec![vec![0; MAX_STRING]], Vec::new(), u64::MAX), Err(Errno::E2BIG));
        assert_eq!(ArgStrings::new(vec![big; 50], Vec::new(), u64::MAX), Err(Errno::E2BIG));
    }
}

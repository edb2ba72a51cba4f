//! Programs, good and hostile, without a stub: what the loader plans for them.

use super::*;
use crate::cred::{Cred, UserNs};
use crate::io::{Sink, SliceSource, Source};
use crate::mm::Content;
use crate::op::Stop;
use crate::vfs::{Backing, FileOps, Mappable, Rights};
use abi::fs::OpenFlags;
use std::any::Any;

/// A file of bytes that claims to be mappable.
struct Bytes(Vec<u8>);

impl FileOps for Bytes {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let rest = self.0.get(at.unwrap_or(0) as usize..).unwrap_or_default();
        // Short reads, as files may give them.
        to.put(rest.get(..rest.len().min(1000)).unwrap_or_default())
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for Bytes {
    fn backing(&self, _io: &mut Io<'_>, _range: std::ops::Range<u64>, rights: Rights) -> Op<Backing> {
        assert!(!rights.write);
        let fd = std::fs::File::open("/dev/null").map_err(Errno::from)?;
        Ok(Backing::Host { fd: HostFd::new(fd.into()), offset: 0, local: true })
    }
}

fn file(bytes: Vec<u8>) -> Arc<File> {
    File::anonymous(Arc::new(Bytes(bytes)), OpenFlags::empty())
}

fn place() -> Place {
    let random = Random { places: [0x1234_5678; 5], bytes: [7; 16] };
    Place {
        top: 0x7fff_0000_0000,
        vdso: VdsoInfo { vvar: 0x7ffe_0000_0000..0x7ffe_0000_4000, vdso: 0x7ffe_0000_4000..0x7ffe_0000_6000 },
        arena: 0x7fb0_0000_0000..0x7fff_0000_0000,
        stack_limit: 8 << 20,
        randomize: true,
        random,
    }
}

const IDS: Ids = Ids { uid: 1, euid: 2, gid: 3, egid: 4, secure: true };

fn args(list: &[&str]) -> ArgStrings {
    let argv = list.iter().map(|s| s.as_bytes().to_vec()).collect();
    ArgStrings::new(argv, vec![b"HOME=/".to_vec()], 8 << 20).unwrap_or_default()
}

/// Runs both steps; interpreters are looked up in `others`.
fn exec(program: Vec<u8>, others: &[(&str, Vec<u8>)]) -> Op<Image> {
    let cred = Arc::new(Cred::root(UserNs::initial()));
    let mut done = 0;
    let mut io = Io::kernel(cred, &mut done);
    let mut open = |_: &mut Io<'_>, path: &[u8]| -> Op<Arc<File>> {
        match others.iter().find(|(name, _)| name.as_bytes() == path) {
            Some((_, bytes)) => Ok(file(bytes.clone())),
            None => fail(Errno::ENOENT),
        }
    };
    let program = prepare(&mut io, &mut open, file(program), b"/bin/prog", args(&["prog", "x"]))?;
    Ok(program.load(&place(), IDS)?)
}

fn errno(result: Op<Image>) -> Option<Errno> {
    match result {
        Err(Stop::Errno(e)) => Some(e),
        _ => None,
    }
}

/// An ELF file with these program headers: (type, flags, offset, vaddr, filesz, memsz).
fn elf(kind: u16, entry: u64, segments: &[(u32, u32, u64, u64, u64, u64)]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend(kind.to_le_bytes());
    out.extend(62u16.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, segments.len() as u16, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    for (typ, flags, offset, vaddr, filesz, memsz) in segments {
        out.extend(typ.to_le_bytes());
        out.extend(flags.to_le_bytes());
        for word in [*offset, *vaddr, *vaddr, *filesz, *memsz, 0x1000] {
            out.extend(word.to_le_bytes());
        }
    }
    out
}

const EXEC: u16 = 2;
const DYN: u16 = 3;
const LOAD: u32 = 1;
const INTERP: u32 = 3;

fn static_program() -> Vec<u8> {
    let mut out =
        elf(EXEC, 0x40_1000, &[(LOAD, 5, 0, 0x40_0000, 0x2000, 0x2000), (LOAD, 6, 0x2100, 0x40_2100, 0x200, 0x5000)]);
    out.resize(0x2300, 0);
    out
}

fn interpreted() -> Vec<u8> {
    let mut out = elf(
        DYN,
        0x1000,
        &[(INTERP, 4, 0x200, 0x200, 7, 7), (LOAD, 5, 0, 0, 0x1800, 0x1800), (LOAD, 6, 0x2000, 0x3000, 0x10, 0x10)],
    );
    out.resize(0x2010, 0);
    out[0x200..0x207].copy_from_slice(b"/ld.so\0");
    out
}

fn linker() -> Vec<u8> {
    let mut out = elf(DYN, 0x40, &[(LOAD, 7, 0, 0, 0x1000, 0x3000)]);
    out.resize(0x1000, 0);
    out
}

#[test]
fn a_static_program() {
    let image = exec(static_program(), &[]).ok();
    assert!(image.is_some());
    let Some(image) = image else { return };
    assert_eq!(image.ip, 0x40_1000);
    assert_eq!(image.sp % 16, 0);
    let at = |a: u64| image.state.map.find(a).map(|area| (area.range.clone(), area.prot.bits()));
    assert_eq!(at(0x40_0000), Some((0x40_0000..0x40_2000, 5)));
    assert_eq!(at(0x40_2000), Some((0x40_2000..0x40_3000, 3)));
    assert_eq!(at(0x40_3000), Some((0x40_3000..0x40_8000, 3)));
    assert!(image.ops.iter().any(|op| matches!(op, platform::Op::Zero { addr: 0x40_2300, len: 0xd00 })));
    assert!(image.state.heap.start >= 0x40_8000 && image.state.heap.start <= 0x40_8000 + (32 << 20));
    assert_eq!(image.files.len(), 1);
}

/// Reads what the guest will find on its stack.
struct StackReader<'a>(u64, &'a [u8]);

impl StackReader<'_> {
    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        let mut from = SliceSource::new(self.1.get((at - self.0) as usize..).unwrap_or_default());
        assert_eq!(from.take(&mut word).ok(), Some(8));
        u64::from_ne_bytes(word)
    }
    fn text(&self, at: u64) -> String {
        let rest = self.1.get((at - self.0) as usize..).unwrap_or_default();
        rest.iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
    }
}

#[test]
fn a_program_with_an_interpreter_and_its_stack() {
    let image = exec(interpreted(), &[("/ld.so", linker())]);
    let Ok(image) = image else { panic!("{:?}", errno(image)) };
    let Some(platform::Op::Copy { addr, bytes }) = image.ops.last() else { panic!() };
    assert_eq!(*addr, image.sp);
    let stack = StackReader(*addr, bytes);
    assert_eq!(stack.word(*addr), 2);
    assert_eq!(stack.text(stack.word(addr + 8)), "prog");
    assert_eq!(stack.text(stack.word(addr + 16)), "x");
    assert_eq!(stack.word(addr + 24), 0);
    assert_eq!(stack.text(stack.word(addr + 32)), "HOME=/");
    assert_eq!(stack.word(addr + 40), 0);
    let mut at = addr + 48;
    let mut aux = std::collections::BTreeMap::new();
    while stack.word(at) != 0 {
        aux.insert(stack.word(at) as u32, stack.word(at + 8));
        at += 16;
    }
    let get = |key: u32| aux.get(&key).copied();
    assert_eq!(get(abi::auxv::AT_SECURE), Some(1));
    assert_eq!(get(abi::auxv::AT_EUID), Some(2));
    assert_eq!(get(abi::auxv::AT_SYSINFO_EHDR), Some(0x7ffe_0000_4000));
    assert_eq!(get(abi::auxv::AT_PHNUM), Some(3));
    assert_eq!(get(abi::auxv::AT_EXECFN).map(|a| stack.text(a)), Some("/bin/prog".into()));
    assert_eq!(get(abi::auxv::AT_PLATFORM).map(|a| stack.text(a)), Some("x86_64".into()));
    let base = get(abi::auxv::AT_BASE).unwrap_or(0);
    assert_eq!(image.ip, base + 0x40);
    let entry = get(abi::auxv::AT_ENTRY).unwrap_or(0);
    assert_eq!(get(abi::auxv::AT_PHDR), Some(entry - 0x1000 + 64));
    assert!(matches!(image.state.map.find(entry).map(|a| &a.content), Some(Content::File(_))));
    let random = get(abi::auxv::AT_RANDOM).unwrap_or(0);
    assert_eq!(stack.word(random), 0x0707_0707_0707_0707);
    assert_eq!(image.state.layout.args.end, image.state.layout.env.start);
    assert_eq!(stack.text(image.state.layout.args.start), "prog");
    assert_eq!(stack.text(image.state.layout.env.start), "HOME=/");
}

#[test]
fn scripts() {
    let found = exec(b"#!/sh -e\n".to_vec(), &[("/sh", static_program())]);
    let Ok(image) = found else { panic!("{:?}", errno(found)) };
    let Some(platform::Op::Copy { addr, bytes }) = image.ops.last() else { panic!() };
    let stack = StackReader(*addr, bytes);
    let argv: Vec<String> = (1..=4).map(|i| stack.text(stack.word(addr + 8 * i))).collect();
    assert_eq!((stack.word(*addr), argv.join(" ")), (4, "/sh -e /bin/prog x".into()));
    assert_eq!(errno(exec(b"#!/sh".to_vec(), &[])), Some(Errno::ENOENT));
    assert_eq!(errno(exec(b"#!/a\n".to_vec(), &[("/a", b"#!/a\n".to_vec())])), Some(Errno::ELOOP));
    assert_eq!(errno(exec(b"echo hello\n".to_vec(), &[])), Some(Errno::ENOEXEC));
    assert_eq!(errno(exec(Vec::new(), &[])), Some(Errno::ENOEXEC));
}

#[test]
fn what_is_no_program() {
    let load = (LOAD, 5, 0, 0x40_0000, 0x100, 0x100);
    let refused = |kind: u16, segments: &[(u32, u32, u64, u64, u64, u64)]| errno(exec(elf(kind, 0, segments), &[]));
    assert_eq!(refused(1, &[load]), Some(Errno::ENOEXEC));
    assert_eq!(refused(EXEC, &[]), Some(Errno::ENOEXEC));
    assert_eq!(refused(EXEC, &[(LOAD, 5, 0, 0x40_0000, 0x200, 0x100)]), Some(Errno::EINVAL));
    assert_eq!(refused(EXEC, &[(LOAD, 5, 0, u64::MAX - 5, 0x10, 0x10)]), Some(Errno::EINVAL));
    assert_eq!(refused(EXEC, &[(LOAD, 5, 1, 0x40_0000, 0x10, 0x10)]), Some(Errno::EINVAL));
    assert_eq!(refused(EXEC, &[(LOAD, 5, 0, 0, 0x10, 0x10)]), Some(Errno::EPERM));
    assert_eq!(refused(EXEC, &[(LOAD, 5, 0, 0x7ffe_0000_0000, 0x10, 0x10)]), Some(Errno::ENOMEM));
    assert_eq!(refused(DYN, &[(LOAD, 5, 0, 0, 0x10, 0x7fff_ffff_0000)]), Some(Errno::ENOMEM));
    assert_eq!(refused(EXEC, &[(INTERP, 4, 0, 0, 1, 1), load]), Some(Errno::ENOEXEC));
    assert_eq!(refused(EXEC, &[(INTERP, 4, 0, 0, 5, 5), load]), Some(Errno::ENOEXEC));
    let mut wrong = elf(EXEC, 0, &[load]);
    wrong[3] = b'f';
    assert_eq!(errno(exec(wrong, &[])), Some(Errno::ENOEXEC));
    let mut short = elf(EXEC, 0, &[load]);
    short.truncate(100);
    assert_eq!(errno(exec(short, &[])), Some(Errno::ENOEXEC));
    let bad = |ld: &[u8]| errno(exec(interpreted(), &[("/ld.so", ld.to_vec())]));
    assert_eq!(bad(b"#!/bin/sh\n"), Some(Errno::EIO));
    assert_eq!(bad(&[b'#'; 64]), Some(Errno::ELIBBAD));
    assert_eq!(bad(b""), Some(Errno::EIO));
    assert_eq!(errno(exec(interpreted(), &[])), Some(Errno::ENOENT));
}

#[test]
fn random_changes_never_panic() {
    let mut seed = 0xdead_beef_cafe_f00d_u64;
    let mut roll = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let good = [static_program(), interpreted(), linker()];
    for _ in 0..20_000 {
        let mut bytes = good[roll(3)].clone();
        for _ in 0..1 + roll(6) {
            // The headers are what counts.
            let at = roll(64 + 3 * 56);
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, roll(256) as u8][roll(6)];
        }
        bytes.truncate(if roll(4) == 0 { roll(300) } else { bytes.len() });
        if let Ok(image) = exec(bytes, &[("/ld.so", linker())]) {
            for area in image.state.map.iter() {
                assert!(area.range.start >= platform::LOW && area.range.end <= place().top);
            }
        }
    }
}

//! Where a program, its interpreter, stack and heap go, and the maps that put them there.

use super::Place;
use super::elf::{Elf, Load, Role};
use crate::io::Io;
use crate::mm::{Area, AreaFlags, Content, FileContent, State, ceiling};
use crate::op::{Op, fail};
use crate::vfs::{Backing, File, Rights};
use abi::Errno;
use abi::mm::*;
use host::HostFd;
use platform::{Arg, LOW};
use std::ops::Range;
use std::sync::Arc;

/// An ELF file in its place. Addresses are the guest's.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is added to the file's own addresses.
    pub bias: u64,
    pub entry: u64,
    pub phdr: u64,
    pub phnum: u16,
    /// For proc_pid_stat(5).
    pub code: Range<u64>,
    pub data: Range<u64>,
    /// The address after the last byte.
    pub end: u64,
}

/// An ELF file and what is behind it.
pub struct Source {
    file: Arc<File>,
    elf: Elf,
    fd: Arc<HostFd>,
    /// Offset of the file's first byte in the host file.
    host_offset: u64,
    local: bool,
    /// From so many bytes on (whole pages) the file is this one, from its beginning.
    rest: Option<(u64, Arc<HostFd>)>,
}

impl Source {
    /// Reads a file's headers and gets hold of the host file behind it. ENOEXEC where it cannot be mapped.
    pub fn open(io: &mut Io<'_>, file: &Arc<File>, head: &[u8], role: Role) -> Op<Source> {
        let elf = Elf::read(io, file, head, role)?;
        let end = end(&elf);
        let mappable = file.ops.mappable().ok_or(Errno::ENOEXEC)?;
        match mappable.backing(io, 0..end, Rights { write: false, shared: false })? {
            Backing::Host { fd, offset, local } => {
                Ok(Source { file: file.clone(), elf, fd, host_offset: offset, local, rest: None })
            }
            Backing::Split { fd, offset, len, rest, local } => {
                Ok(Source { file: file.clone(), elf, fd, host_offset: offset, local, rest: Some((len, rest)) })
            }
            Backing::Anonymous => fail(Errno::ENOEXEC),
        }
    }

    /// Where the last segment ends in the file.
    pub fn end(&self) -> u64 {
        end(&self.elf)
    }

    /// The path that PT_INTERP names.
    pub fn interpreter(&self) -> Option<&[u8]> {
        self.elf.interpreter.as_deref()
    }

    pub fn exec_stack(&self) -> bool {
        self.elf.exec_stack
    }
}

fn end(elf: &Elf) -> u64 {
    elf.loads.iter().map(|l| l.offset + l.filesz).max().unwrap_or(0)
}

/// A new address space as it is built.
pub struct Builder {
    pub state: State,
    pub ops: Vec<platform::Op>,
    pub files: Vec<Arc<HostFd>>,
    stack: Range<u64>,
    /// Where programs that can go anywhere go, and how far the heap is from its program.
    program_base: u64,
    heap_gap: u64,
}

/// A stack is mapped whole; one without a limit gets this much.
const MAX_STACK: u64 = 1 << 30;
const MIN_STACK: u64 = 132 << 10;
/// Distance kept between the largest stack and the maps, guard pages included.
const STACK_GAP: u64 = 1 << 20;
/// What a stack must leave free for the deepest arguments.
const MAX_ARGS: u64 = 8 << 20;

impl Builder {
    pub fn new(place: &Place, exec_stack: bool) -> Builder {
        let [stack_by, maps_by, program_by, heap_by, _] = place.random.places;
        // In pages: 16 GiB for the stack, 256 GiB for maps, as much for the program, 32 MiB for the heap.
        let pages = |random: u64, bits: u32| if place.randomize { (random & ((1 << bits) - 1)) * PAGE_SIZE } else { 0 };
        let top = page_down(ceiling(place.top, &place.arena));
        let size = page_down(place.stack_limit.min(MAX_STACK).saturating_add(PAGE_SIZE - 1)).max(MIN_STACK) + MAX_ARGS;
        let size = size.min(page_down(top / 4));
        let stack_by = pages(stack_by, 22).min(top / 64);
        let mut state = State::new(place.top, place.vdso.clone(), place.arena.clone(), stack_by + size + STACK_GAP);
        state.base -= page_down(pages(maps_by, 26).min(state.base / 16));
        let stack_end = top - stack_by;
        let mut new = Builder {
            stack: stack_end - size..stack_end,
            program_base: page_down(top / 3 * 2) + pages(program_by, 26).min(page_down(top / 16)),
            heap_gap: pages(heap_by, 13),
            state,
            ops: Vec::new(),
            files: Vec::new(),
        };
        let mut prot = Prot::READ | Prot::WRITE;
        prot.set(Prot::EXEC, exec_stack);
        let flags = AreaFlags::GROWSDOWN | AreaFlags::NORESERVE;
        let stack = new.stack.clone();
        new.map(stack, prot, flags, MAP_STACK | MAP_NORESERVE, None);
        new
    }

    pub fn stack_range(&self) -> Range<u64> {
        self.stack.clone()
    }

    /// The program: at its own addresses, or (ET_DYN) at the program base when an interpreter relocates it, else among the maps.
    pub fn program(&mut self, source: &Source, interpreted: bool) -> Result<Loaded, Errno> {
        let elf = &source.elf;
        let span = elf.span();
        let bias = if !elf.movable {
            0
        } else if interpreted {
            let at = (self.program_base & !(elf.align - 1)).max(LOW);
            at.checked_sub(span.start & !(elf.align - 1)).ok_or(Errno::EINVAL)?
        } else {
            self.free_place(elf)?
        };
        self.load(source, bias)
    }

    /// The interpreter: among the maps, where it can go anywhere.
    pub fn library(&mut self, source: &Source) -> Result<Loaded, Errno> {
        let bias = if source.elf.movable { self.free_place(&source.elf)? } else { 0 };
        self.load(source, bias)
    }

    /// The heap begins some way behind the program. A program that lies among the maps has its heap at the program base.
    pub fn heap(&mut self, program: &Loaded, interpreted: bool) {
        let among_maps = program.bias != 0 && !interpreted;
        let after = if among_maps { self.program_base } else { program.end };
        let start = page_up(after).unwrap_or(after) + self.heap_gap;
        self.state.heap = start..start;
    }

    /// A bias by which the file's pages fall into a free range.
    fn free_place(&mut self, elf: &Elf) -> Result<u64, Errno> {
        let span = elf.span();
        let below = LOW..self.state.base;
        // The span's start need not be aligned itself, only the bias.
        let lead = span.start & (elf.align - 1);
        let len = (span.end - span.start).checked_add(lead).ok_or(Errno::ENOMEM)?;
        let at = self.state.map.gap_down(len, elf.align, &below, &[]).ok_or(Errno::ENOMEM)?;
        at.checked_sub(span.start - lead).ok_or(Errno::EINVAL)
    }

    fn load(&mut self, source: &Source, bias: u64) -> Result<Loaded, Errno> {
        let elf = &source.elf;
        let span = elf.span();
        let (Some(start), Some(end)) = (bias.checked_add(span.start), bias.checked_add(span.end)) else {
            return Err(Errno::EINVAL);
        };
        if start < LOW {
            return Err(Errno::EPERM);
        }
        if end > self.state.top || !self.state.map.is_free(&(start..end)) {
            return Err(Errno::ENOMEM);
        }
        self.files.push(source.fd.clone());
        self.files.extend(source.rest.iter().map(|(_, fd)| fd.clone()));
        for load in &elf.loads {
            self.segment(source, load, bias)?;
        }
        let exec = |l: &&Load| l.prot.contains(Prot::EXEC);
        let code_end = elf.loads.iter().filter(exec).map(|l| l.vaddr + l.filesz).max().unwrap_or(span.start);
        let last = elf.loads.iter().max_by_key(|l| l.vaddr);
        let data = last.map_or(0..0, |l| bias + l.vaddr..bias + l.vaddr + l.filesz);
        Ok(Loaded {
            bias,
            entry: bias.wrapping_add(elf.entry),
            phdr: if elf.phdr == 0 { 0 } else { bias + elf.phdr },
            phnum: elf.phnum,
            code: start..bias + code_end,
            data,
            end: bias + elf.loads.iter().map(Load::end).max().unwrap_or(0),
        })
    }

    /// Maps a segment of the file that was last added to `files`, with its rest if it has one.
    fn segment(&mut self, source: &Source, load: &Load, bias: u64) -> Result<(), Errno> {
        let last = self.files.len().saturating_sub(1) as u32;
        let fd = if source.rest.is_some() { last.saturating_sub(1) } else { last };
        let start = bias + page_down(load.vaddr);
        let file_end = bias + load.vaddr + load.filesz;
        let memory_end = page_up(bias + load.end()).ok_or(Errno::EINVAL)?;
        let mut at = start;
        if load.filesz > 0 {
            let pages_end = page_up(file_end).ok_or(Errno::EINVAL)?;
            let offset = page_down(load.offset);
            let host = offset.checked_add(source.host_offset).ok_or(Errno::EINVAL)?;
            let content = |offset| FileContent { file: source.file.clone(), offset, local: source.local };
            let split = source.rest.as_ref().map_or(u64::MAX, |(len, _)| *len);
            let here = split.saturating_sub(offset).min(pages_end - start);
            if here > 0 {
                let range = start..start + here;
                self.map(range, load.prot, AreaFlags::empty(), 0, Some((fd, host, content(offset))));
            }
            if here < pages_end - start {
                let file = Some((last, offset + here - split, content(offset + here)));
                self.map(start + here..pages_end, load.prot, AreaFlags::empty(), 0, file);
            }
            if load.memsz > load.filesz && load.prot.contains(Prot::WRITE) && file_end < pages_end {
                self.ops.push(platform::Op::Zero { addr: file_end, len: pages_end - file_end });
            }
            at = pages_end;
        }
        if at < memory_end {
            let prot = Prot::READ | Prot::WRITE | (load.prot & Prot::EXEC);
            self.map(at..memory_end, prot, AreaFlags::empty(), 0, None);
        }
        Ok(())
    }

    /// Adds a private mapping to map and script.
    fn map(
        &mut self,
        range: Range<u64>,
        prot: Prot,
        flags: AreaFlags,
        host_flags: u32,
        file: Option<(u32, u64, FileContent)>,
    ) {
        let mut host_flags = host_flags | MAP_PRIVATE | MAP_FIXED;
        let (fd, offset, content) = match file {
            Some((fd, offset, content)) => (Arg::Fd(fd), offset, Content::File(content)),
            None => {
                host_flags |= MAP_ANONYMOUS;
                (Arg::Val(u64::MAX), 0, Content::Anonymous)
            }
        };
        self.ops.push(platform::Op::Call {
            nr: abi::nr::MMAP,
            args: [
                Arg::Val(range.start),
                Arg::Val(range.end - range.start),
                Arg::Val(prot.bits().into()),
                Arg::Val(host_flags.into()),
                fd,
                Arg::Val(offset),
            ],
            may_fail: false,
        });
        self.state.map.replace(Area { range, prot, max_prot: Prot::all(), flags, content, name: None });
    }
}

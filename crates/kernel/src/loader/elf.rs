//! ELF headers of a program or interpreter, elf(5): read, checked, turned into what `segments` maps.
//!
//! Everything comes from a file that may be hostile; all sums are checked here, so that `segments` may add up to `end` freely.

use super::read_at;
use crate::io::Io;
use crate::op::{Op, fail};
use crate::vfs::File;
use abi::Errno;
use abi::mm::{PAGE_SIZE, Prot, TASK_SIZE, page_down, page_up};
use elf::abi::{EM_X86_64, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;
use std::ops::Range;

const HEADER_SIZE: usize = 64;
const IDENT: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
const ENTRY_SIZE: usize = 56;

/// What a file is loaded as: errors differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Program,
    /// Named by PT_INTERP: the dynamic linker.
    Interpreter,
}

/// A PT_LOAD segment; `vaddr + memsz` is below TASK_SIZE, `filesz <= memsz`, offset and address agree within a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub vaddr: u64,
    pub offset: u64,
    pub filesz: u64,
    pub memsz: u64,
    pub prot: Prot,
}

/// An ELF file's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    pub entry: u64,
    /// ET_DYN: it may be loaded anywhere.
    pub movable: bool,
    /// Not empty.
    pub loads: Vec<Load>,
    pub interpreter: Option<Vec<u8>>,
    pub exec_stack: bool,
    /// Address of the program headers as loaded, if a segment holds them; and their number.
    pub phdr: u64,
    pub phnum: u16,
    /// The largest alignment that a segment asks for, a power of two of at least a page.
    pub align: u64,
}

impl Elf {
    /// Reads the headers of `file`, whose first bytes are `head`.
    pub fn read(io: &mut Io<'_>, file: &File, head: &[u8], role: Role) -> Op<Elf> {
        let header = parse_header(head, role)?;
        let len = usize::from(header.e_phnum) * ENTRY_SIZE;
        let table = match header.e_phoff.checked_add(len as u64) {
            // Mostly they follow the header at once.
            Some(end) if end <= head.len() as u64 => {
                head.get(header.e_phoff as usize..end as usize).unwrap_or_default().to_vec()
            }
            Some(_) => read_at(io, file, header.e_phoff, len)?,
            None => Vec::new(),
        };
        if table.len() < len {
            return fail(no_program(role));
        }
        let segments = ParsingTable::<_, ProgramHeader>::new(LittleEndian, Class::ELF64, &table);
        let mut interpreter = None;
        if role == Role::Program
            && let Some(p) = segments.iter().find(|p| p.p_type == PT_INTERP)
        {
            interpreter = Some(read_interpreter(io, file, &p)?);
        }
        Ok(build(&header, segments.iter(), interpreter)?)
    }

    /// The pages that the segments take, relative to where the file is loaded.
    pub fn span(&self) -> Range<u64> {
        let start = self.loads.iter().map(|l| page_down(l.vaddr)).min().unwrap_or(0);
        let end = self.loads.iter().map(Load::end).max().unwrap_or(0);
        start..page_up(end).unwrap_or(end)
    }
}

impl Load {
    /// The address after the last byte in memory.
    pub fn end(&self) -> u64 {
        self.vaddr + self.memsz
    }
}

fn no_program(role: Role) -> Errno {
    if role == Role::Program { Errno::ENOEXEC } else { Errno::ELIBBAD }
}

fn parse_header(head: &[u8], role: Role) -> Result<FileHeader<LittleEndian>, Errno> {
    let bad = no_program(role);
    // Linux reads a linker's header as such, and a program's with whatever else a file can be.
    let short = if role == Role::Program { bad } else { Errno::EIO };
    let head = head.get(..HEADER_SIZE).ok_or(short)?;
    if !head.starts_with(IDENT.get(..4).unwrap_or_default()) {
        return Err(bad);
    }
    // Of the identification Linux looks at no more: a file that calls itself one of 32 bits is read as one of 64, for its machine has no other.
    let ident = parse_ident::<LittleEndian>(IDENT).map_err(|_| bad)?;
    let tail = head.get(elf::abi::EI_NIDENT..).ok_or(bad)?;
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| bad)?;
    let known_type = header.e_type == ET_EXEC || header.e_type == ET_DYN;
    let phnum = usize::from(header.e_phnum);
    let few = (1..=65_536 / ENTRY_SIZE).contains(&phnum);
    if !known_type || header.e_machine != EM_X86_64 || usize::from(header.e_phentsize) != ENTRY_SIZE || !few {
        return Err(bad);
    }
    Ok(header)
}

fn read_interpreter(io: &mut Io<'_>, file: &File, p: &ProgramHeader) -> Op<Vec<u8>> {
    if p.p_filesz < 2 || p.p_filesz > u64::from(abi::fs::PATH_MAX) {
        return fail(Errno::ENOEXEC);
    }
    let mut path = read_at(io, file, p.p_offset, p.p_filesz as usize)?;
    if path.len() as u64 != p.p_filesz {
        return fail(Errno::EIO);
    }
    if path.pop() != Some(0) {
        return fail(Errno::ENOEXEC);
    }
    // The path ends at its first zero.
    let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
    path.truncate(end);
    // For Linux that is the current folder, which nobody executes.
    if path.is_empty() { fail(Errno::EACCES) } else { Ok(path) }
}

fn build(
    header: &FileHeader<LittleEndian>,
    segments: impl Iterator<Item = ProgramHeader>,
    interpreter: Option<Vec<u8>>,
) -> Result<Elf, Errno> {
    let mut elf = Elf {
        entry: header.e_entry,
        movable: header.e_type == ET_DYN,
        loads: Vec::new(),
        interpreter,
        exec_stack: false,
        phdr: 0,
        phnum: header.e_phnum,
        align: PAGE_SIZE,
    };
    for p in segments {
        match p.p_type {
            PT_GNU_STACK => elf.exec_stack = p.p_flags & PF_X != 0,
            PT_LOAD => {
                let load = check_load(&p)?;
                if p.p_align.is_power_of_two() && p.p_align <= 1 << 30 {
                    elf.align = elf.align.max(p.p_align);
                }
                if p.p_offset <= header.e_phoff && header.e_phoff - p.p_offset < p.p_filesz {
                    elf.phdr = load.vaddr + (header.e_phoff - p.p_offset);
                }
                if load.memsz > 0 {
                    elf.loads.push(load);
                }
            }
            _ => {}
        }
    }
    if elf.loads.is_empty() { Err(Errno::EINVAL) } else { Ok(elf) }
}

fn check_load(p: &ProgramHeader) -> Result<Load, Errno> {
    let end = p.p_vaddr.checked_add(p.p_memsz).ok_or(Errno::EINVAL)?;
    let file_end = p.p_offset.checked_add(p.p_filesz).ok_or(Errno::EINVAL)?;
    if p.p_filesz > p.p_memsz || end > TASK_SIZE || file_end > i64::MAX as u64 - PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    // Linux' mmap refuses such an offset.
    if p.p_filesz > 0 && p.p_vaddr % PAGE_SIZE != p.p_offset % PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut prot = Prot::empty();
    prot.set(Prot::READ, p.p_flags & PF_R != 0);
    prot.set(Prot::WRITE, p.p_flags & PF_W != 0);
    prot.set(Prot::EXEC, p.p_flags & PF_X != 0);
    Ok(Load { vaddr: p.p_vaddr, offset: p.p_offset, filesz: p.p_filesz, memsz: p.p_memsz, prot })
}

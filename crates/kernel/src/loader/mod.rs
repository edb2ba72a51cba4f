//! The program loader, execve(2): scripts, ELF programs and their interpreters, the stack image.
//!
//! In two steps: `prepare` does all that may wait: it opens what is really to be run (a script's interpreter, the dynamic
//! linker), reads and checks it. Then credentials can be computed, and `Program::load` makes the new address space, once its stub
//! process is known: the map, and the operations by which the stub builds it. Nothing is changed before the caller hands those to
//! a stub. Files are hostile: whatever they hold, the answer is an errno.
//! Neighbours: `args` (argument strings), `elf` (headers), `segments` (maps), `stack` (stack image), `script` (`#!`). No locks.

mod args;
mod elf;
mod script;
mod segments;
mod stack;

pub use args::{ArgStrings, read_args};

use crate::io::{Io, VecSink};
use crate::mm::{Donation, Layout, State};
use crate::op::{Op, fail};
use crate::vfs::File;
use abi::Errno;
use host::HostFd;
use platform::{Arg, Script, Space, Then, Thread, VdsoInfo};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a file that say what kind of program it is; a `#!` line ends here at the latest.
const HEAD: usize = 256;
/// Scripts whose interpreters are scripts: so many are followed, then ELOOP.
const MAX_SCRIPTS: usize = 5;

/// Opens a program by path as execve(2) does: a regular file, execute permission, no MS_NOEXEC.
pub type Opener<'a> = &'a mut dyn FnMut(&mut Io<'_>, &[u8]) -> Op<Arc<File>>;

/// A program that can be loaded, with its arguments.
pub struct Program {
    /// The ELF file: of a script its (last) interpreter. /proc/PID/exe, set-user-ID bits and capabilities are this file's.
    pub file: Arc<File>,
    /// The last part of the path that exec was asked for, for the task's name.
    pub comm: Vec<u8>,
    args: ArgStrings,
    /// The path that exec was asked for: AT_EXECFN.
    name: Vec<u8>,
    main: segments::Source,
    /// The dynamic linker.
    interpreter: Option<segments::Source>,
}

/// Who the new program runs as: auxv entries.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    /// AT_SECURE: it gained rights by this exec.
    pub secure: bool,
}

/// What a new address space depends on besides the file.
pub struct Place {
    /// Guest addresses end here.
    pub top: u64,
    pub vdso: VdsoInfo,
    /// Where nothing is placed, `Space::arena`.
    pub arena: Range<u64>,
    /// RLIMIT_STACK.
    pub stack_limit: u64,
    /// False with personality(2) ADDR_NO_RANDOMIZE.
    pub randomize: bool,
    /// Random bytes, never used before.
    pub random: Random,
}

impl Place {
    /// For a program in `space`.
    pub fn of(space: &Space, stack_limit: u64, randomize: bool, random: Random) -> Place {
        Place { top: space.user_top(), vdso: space.vdso(), arena: space.arena(), stack_limit, randomize, random }
    }
}

/// Randomness for one exec.
#[derive(Clone, Copy, Default)]
pub struct Random {
    /// Displacements of stack, maps, program, heap and stack pointer.
    pub places: [u64; 5],
    /// AT_RANDOM.
    pub bytes: [u8; 16],
}

impl Random {
    /// Fresh from the host.
    pub fn draw() -> Random {
        let mut random = Random::default();
        let mut drawn = [0; 56];
        host::random::fill(&mut drawn);
        let (places, bytes) = drawn.split_at(size_of_val(&random.places));
        for (place, word) in random.places.iter_mut().zip(places.chunks_exact(8)) {
            *place = word.iter().fold(0, |place, byte| place << 8 | u64::from(*byte));
        }
        random.bytes.copy_from_slice(bytes);
        random
    }
}

/// A new program, ready for a stub.
pub struct Image {
    /// The map of the new address space.
    pub state: State,
    /// Builds it in an empty address space. `Arg::Fd` counts `files`.
    ops: Vec<platform::Op>,
    files: Vec<Arc<HostFd>>,
    pub ip: u64,
    pub sp: u64,
}

/// Whether it begins with `#!`.
pub fn is_script(io: &mut Io<'_>, file: &Arc<File>) -> Op<bool> {
    Ok(read_at(io, file, 0, 2)?.starts_with(b"#!"))
}

/// Finds out what `file`, opened as `name`, really runs, and reads it. ENOEXEC where it is no program; ELOOP for too many scripts;
/// ELIBBAD for a dynamic linker that is none; what `open` says where an interpreter cannot be opened.
pub fn prepare(io: &mut Io<'_>, open: Opener<'_>, file: Arc<File>, name: &[u8], args: ArgStrings) -> Op<Program> {
    let mut args = args;
    if args.argv.is_empty() {
        // A program always finds an argv[0], since Linux 5.18.
        args.argv.push(Vec::new());
    }
    let (mut file, mut path) = (file, name.to_vec());
    for _ in 0..=MAX_SCRIPTS {
        let head = read_at(io, &file, 0, HEAD)?;
        if head.starts_with(b"\x7fELF") {
            let main = segments::Source::open(io, &file, &head, elf::Role::Program)?;
            let interpreter = match main.interpreter() {
                Some(path) => {
                    let file = open(io, path)?;
                    let head = read_at(io, &file, 0, HEAD)?;
                    Some(segments::Source::open(io, &file, &head, elf::Role::Interpreter)?)
                }
                None => None,
            };
            let comm = name.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
            return Ok(Program { file, comm, args, name: name.to_vec(), main, interpreter });
        }
        let line = script::parse(&head)?;
        args.interpret(&line, &path)?;
        file = open(io, &line.interpreter)?;
        path = line.interpreter;
    }
    fail(Errno::ELOOP)
}

impl Program {
    /// Where the last of its segments ends in its file.
    pub fn end(&self) -> u64 {
        self.main.end()
    }

    /// Plans the new address space. ENOMEM where the program does not fit, EPERM where it asks for addresses that no guest may
    /// have, E2BIG where the arguments do not fit the stack.
    pub fn load(&self, place: &Place, ids: Ids) -> Result<Image, Errno> {
        let mut new = segments::Builder::new(place, self.main.exec_stack());
        let interpreted = self.interpreter.is_some();
        let loaded = new.program(&self.main, interpreted)?;
        let (base, ip) = match &self.interpreter {
            Some(linker) => {
                let loaded = new.library(linker)?;
                (loaded.bias, loaded.entry)
            }
            None => (0, loaded.entry),
        };
        new.heap(&loaded, interpreted);

        let info = stack::Info { ids, base, loaded: &loaded, vdso: place.vdso.vdso.start, random: &place.random };
        let stack = stack::build(&self.args, &self.name, &info, new.stack_range(), place.randomize)?;
        let sp = stack.sp;
        let segments::Builder { mut state, mut ops, files, .. } = new;
        state.layout = Layout {
            code: loaded.code.clone(),
            data: loaded.data.clone(),
            args: stack.args.clone(),
            env: stack.env.clone(),
            start_stack: sp,
            auxv: stack.auxv,
        };
        ops.push(platform::Op::Copy { addr: sp, bytes: stack.bytes });
        Ok(Image { state, ops, files, ip, sp })
    }
}

impl Image {
    /// The script that starts the program in the address space of `thread`, and the map that goes with it. `old`: it holds the
    /// program before, whose memory is unmapped first. Fails where the stub takes no more files.
    pub fn start(self, thread: &Thread, old: bool) -> Result<(Script, State), Errno> {
        let mut ops = if old { unmap_all(thread.space()) } else { Vec::new() };
        let mut numbers = Vec::with_capacity(self.files.len());
        for file in &self.files {
            numbers.push(Donation { file: file.clone(), write: false }.attach(thread)?);
        }
        for mut op in self.ops {
            if let platform::Op::Call { args, .. } = &mut op {
                for arg in args {
                    if let Arg::Fd(index) = arg
                        && let Some(number) = numbers.get(*index as usize)
                    {
                        *arg = Arg::Fd(*number);
                    }
                }
            }
            ops.push(op);
        }
        // The thread pointer is the old program's.
        ops.push(platform::Op::SetFs(0));
        ops.push(platform::Op::SetGs(0));
        Ok((Script { ops, then: Then::Start { ip: self.ip, sp: self.sp } }, self.state))
    }
}

/// Unmaps everything that guests may map, but for the vdso.
fn unmap_all(space: &Space) -> Vec<platform::Op> {
    let vdso = space.vdso();
    let mut kept = [vdso.vvar, vdso.vdso];
    kept.sort_by_key(|r| r.start);
    let mut at = platform::LOW;
    let mut ops = Vec::new();
    let top = space.user_top();
    for end in kept.iter().map(|k| k.start).chain([top]) {
        let end = end.min(top);
        if end > at {
            ops.push(platform::Op::call(abi::nr::MUNMAP, [at, end - at, 0, 0, 0, 0]));
        }
        at = at.max(kept.iter().find(|k| k.start == end).map_or(end, |k| k.end));
    }
    ops
}

/// Reads up to `len` bytes at `at`; less at the file's end.
fn read_at(io: &mut Io<'_>, file: &File, at: u64, len: usize) -> Op<Vec<u8>> {
    let mut sink = VecSink { data: Vec::with_capacity(len.min(1 << 16)), max: len };
    while sink.data.len() < len {
        // Not by `File::read`: a program needs no read permission to be executed.
        let count = file.ops.read(io, Some(at.saturating_add(sink.data.len() as u64)), &mut sink)?;
        if count == 0 {
            break;
        }
    }
    Ok(sink.data)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! A kernel of some twenty calls, enough for static C programs that write, map memory, fork, start threads and take signals.
//!
//! One lock for everything, never held across an answer's flush. Memory: everything is mapped where a bump pointer says, and never found again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use host::HostFd;
use platform::{Arg, Config, Event, ForkSpec, Guest, Op, Platform, Script, SignalFrame, SpawnSpec, Then, Thread};

static KERNEL: Mutex<Option<Kernel>> = Mutex::new(None);
static PLATFORM: OnceLock<Arc<Platform>> = OnceLock::new();

#[derive(Default)]
struct Kernel {
    processes: HashMap<i32, Process>,
    next: i32,
    image: Vec<Segment>,
    entry: u64,
    file: Option<Arc<HostFd>>,
    argv: Vec<String>,
    sleeping: Vec<Arc<Thread>>,
    waiting: Vec<(i32, Arc<Thread>, u64)>,
}

#[derive(Clone)]
struct Segment {
    addr: u64,
    file: u64,
    mem: u64,
    offset: u64,
    prot: u64,
}

#[derive(Clone)]
struct Process {
    parent: i32,
    top: u64,
    brk: u64,
    actions: HashMap<u64, [u64; 4]>,
    status: Option<i32>,
    tasks: Vec<Arc<Task>>,
}

struct Task {
    pid: i32,
    tid: i32,
    mask: Mutex<u64>,
    pending: Mutex<Vec<u32>>,
    stack: Mutex<(u64, u32, u64)>,
    thread: Mutex<Option<Arc<Thread>>>,
    first: bool,
    left: Mutex<bool>,
    result: Mutex<Option<i64>>,
}

fn kernel() -> MutexGuard<'static, Option<Kernel>> {
    KERNEL.lock().unwrap()
}

pub fn run(config: Config, args: &[String]) {
    let file = std::fs::File::open(&args[0]).expect("the guest program");
    let mut k = Kernel { next: 2, argv: args.to_vec(), ..Default::default() };
    k.load(&file);
    k.file = Some(HostFd::new(file.into()));
    let platform = Platform::start(config).unwrap_or_else(|e| panic!("{e}"));
    platform.run().unwrap();
    let task = Task::new(1, 1, true);
    k.processes.insert(
        1,
        Process { parent: 0, top: 0, brk: 0, actions: HashMap::new(), status: None, tasks: vec![task.clone()] },
    );
    *kernel() = Some(k);
    let _ = PLATFORM.set(platform.clone());
    platform.fresh(task, None);
    platform::flush();
    loop {
        std::thread::park();
    }
}

impl Kernel {
    fn load(&mut self, file: &std::fs::File) {
        use std::os::unix::fs::FileExt;
        let mut h = vec![0u8; 4096];
        let n = file.read_at(&mut h, 0).unwrap();
        h.truncate(n);
        let get = |o: usize, n: usize| h[o..o + n].iter().rev().fold(0u64, |a, b| a << 8 | u64::from(*b));
        self.entry = get(24, 8);
        for i in 0..get(56, 2) as usize {
            let p = get(32, 8) as usize + i * 56;
            if get(p, 4) == 1 {
                let flags = get(p + 4, 4);
                let prot = (flags >> 2 & 1) | (flags & 2) | (flags & 1) << 2;
                self.image.push(Segment {
                    offset: get(p + 8, 8),
                    addr: get(p + 16, 8),
                    file: get(p + 32, 8),
                    mem: get(p + 40, 8),
                    prot,
                });
            }
        }
    }
}

fn page(x: u64) -> u64 {
    (x + 4095) & !4095
}

fn mmap(addr: u64, len: u64, prot: u64) -> Op {
    Op::call(9, [addr, len, prot, 0x4032, u64::MAX, 0])
}

impl Task {
    fn new(pid: i32, tid: i32, first: bool) -> Arc<Task> {
        Arc::new(Task {
            pid,
            tid,
            mask: Mutex::new(0),
            pending: Mutex::default(),
            stack: Mutex::new((0, 2, 0)),
            thread: Mutex::default(),
            first,
            left: Mutex::new(false),
            result: Mutex::default(),
        })
    }

    fn exec(&self, thread: &Arc<Thread>) {
        let mut g = kernel();
        let k = g.as_mut().unwrap();
        let fd = thread.attach(k.file.clone().unwrap()).unwrap();
        let top = thread.space().user_top();
        let mut ops = vec![Op::call(11, [0x1_0000, top - 0x1_0000, 0, 0, 0, 0])];
        let mut end = 0;
        for s in &k.image {
            let (at, pad) = (s.addr & !4095, s.addr & 4095);
            let args = [
                Arg::Val(at),
                Arg::Val(page(s.file + pad)),
                Arg::Val(s.prot),
                Arg::Val(0x12),
                Arg::Fd(fd),
                Arg::Val(s.offset - pad),
            ];
            ops.push(Op::Call { nr: 9, args, may_fail: false });
            let (file_end, mem_end) = (s.addr + s.file, s.addr + s.mem);
            if mem_end > file_end {
                ops.push(Op::Zero { addr: file_end, len: page(file_end) - file_end });
                if page(mem_end) > page(file_end) {
                    ops.push(mmap(page(file_end), page(mem_end) - page(file_end), s.prot));
                }
            }
            end = page(mem_end);
        }
        let stack = top - (8 << 20);
        ops.push(mmap(stack, 8 << 20, 3));
        let mut strings = vec![0u8; 16]; // AT_RANDOM
        let mut at = Vec::new();
        for a in &k.argv {
            at.push(strings.len() as u64);
            strings.extend(a.as_bytes());
            strings.push(0);
        }
        let base = (top - strings.len() as u64) & !15;
        let mut words = vec![at.len() as u64];
        words.extend(at.iter().map(|o| base + o));
        words.extend([0, 0, 6, 4096, 25, base, 16, 0, 26, 2, 51, 4096, 33, thread.space().vdso().vdso.start, 0, 0]);
        let sp = (base - words.len() as u64 * 8) & !15;
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize((base - sp) as usize, 0);
        bytes.extend(strings);
        ops.push(Op::Copy { addr: sp, bytes });
        ops.push(Op::SetFs(0));
        let p = k.processes.get_mut(&self.pid).unwrap();
        p.top = stack - 0x10_0000;
        p.brk = end;
        thread.script(Script { ops, then: Then::Start { ip: k.entry, sp } });
    }

    fn call(self: &Arc<Self>, thread: &Arc<Thread>, nr: u32, a: [u64; 6]) {
        let mut g = kernel();
        let k = g.as_mut().unwrap();
        let p = k.processes.get_mut(&self.pid).unwrap();
        let space = thread.space();
        match nr {
            1 => {
                let mut b = vec![0; a[2].min(65536) as usize];
                let n = space.read(a[1], &mut b).unwrap_or(0);
                drop(g);
                // SAFETY: writes our own buffer.
                unsafe { libc::write(a[0] as i32, b.as_ptr().cast(), n) };
                self.done(thread, n as i64);
            }
            9 => {
                let len = page(a[1]);
                let at = if a[3] & 0x10 != 0 {
                    a[0]
                } else {
                    p.top -= len + 4096;
                    p.top
                };
                thread.script(Script { ops: vec![mmap(at, len, a[2] & 7)], then: Then::ReturnLast });
            }
            10 | 11 | 28 => {
                thread.script(Script { ops: vec![Op::call(nr, a)], then: Then::ReturnLast });
            }
            12 => {
                if a[0] <= p.brk {
                    return thread.ret(p.brk as i64);
                }
                let (from, to) = (page(p.brk), page(a[0]));
                p.brk = a[0];
                let ops = if to > from { vec![mmap(from, to - from, 3)] } else { vec![] };
                thread.script(Script { ops, then: Then::Return(a[0] as i64) });
            }
            13 => {
                let mut b = [0u8; 32];
                if a[1] != 0 {
                    let _ = space.read(a[1], &mut b);
                    let w = |i: usize| u64::from_le_bytes(b[i * 8..i * 8 + 8].try_into().unwrap());
                    p.actions.insert(a[0], [w(0), w(1), w(2), w(3)]);
                }
                thread.ret(0);
            }
            14 => {
                let mut m = self.mask.lock().unwrap();
                let old = *m;
                if a[1] != 0 {
                    let mut b = [0u8; 8];
                    let _ = space.read(a[1], &mut b);
                    let s = u64::from_le_bytes(b);
                    *m = match a[0] {
                        0 => old | s,
                        1 => old & !s,
                        _ => s,
                    };
                }
                drop(m);
                if a[2] != 0 {
                    let _ = space.write(a[2], &old.to_le_bytes());
                }
                drop(g);
                self.done(thread, 0);
            }
            15 => {
                *self.mask.lock().unwrap() = a[0];
                drop(g);
                self.resume(thread);
            }
            131 => {
                let mut b = [0u8; 24];
                if a[0] != 0 && space.read(a[0], &mut b).is_ok() {
                    let w = |i: usize| u64::from_le_bytes(b[i * 8..i * 8 + 8].try_into().unwrap());
                    *self.stack.lock().unwrap() = (w(0), w(1) as u32, w(2));
                }
                thread.ret(0);
            }
            24 => thread.ret(0),
            34 => {
                k.sleeping.push(thread.clone());
                drop(g);
                thread.blocked();
            }
            // Ours: wakes all that sleep in pause, with the value 7; returns how many.
            1000 => {
                let all = std::mem::take(&mut k.sleeping);
                drop(g);
                for t in &all {
                    t.ret(7);
                }
                thread.ret(all.len() as i64);
            }
            1001 => thread.ret(k.sleeping.len() as i64),
            39 => thread.ret(self.pid.into()),
            186 => thread.ret(self.tid.into()),
            110 => thread.ret(p.parent.into()),
            158 => match a[0] {
                0x1002 => thread.script(Script { ops: vec![Op::SetFs(a[1])], then: Then::Return(0) }),
                _ => thread.ret(-22),
            },
            218 => {
                let ops = vec![Op::call(218, [a[0], 0, 0, 0, 0, 0])];
                thread.script(Script { ops, then: Then::Return(self.tid.into()) });
            }
            56..=58 => {
                let flags = if nr == 56 { a[0] } else { 17 };
                let id = k.next;
                k.next += 1;
                let mask = *self.mask.lock().unwrap();
                *self.result.lock().unwrap() = Some(id.into());
                if flags & 0x1_0000 != 0 {
                    let child = Task::new(self.pid, id, false);
                    *child.mask.lock().unwrap() = mask;
                    p.tasks.push(child.clone());
                    let mut set_tid = Vec::new();
                    if flags & 0x10_0000 != 0 {
                        set_tid.push((a[2], id as u32));
                    }
                    let clear_tid = if flags & 0x20_0000 != 0 { a[3] } else { 0 };
                    let tls = (flags & 0x8_0000 != 0).then_some(a[4]);
                    thread.spawn(SpawnSpec { child: child.into(), stack: a[1], tls, clear_tid, set_tid });
                } else {
                    let child = Task::new(id, id, false);
                    *child.mask.lock().unwrap() = mask;
                    let mut copy = p.clone();
                    copy.parent = self.pid;
                    copy.tasks = vec![child.clone()];
                    k.processes.insert(id, copy);
                    let set_tid = (flags & 0x100_0000 != 0).then_some((a[3], id as u32));
                    let clear_tid = if flags & 0x20_0000 != 0 { a[3] } else { 0 };
                    let stack = if nr == 56 { a[1] } else { 0 };
                    thread.fork(ForkSpec {
                        child: child.into(),
                        stack,
                        tls: None,
                        clear_tid,
                        set_tid,
                        parent_tid: None,
                    });
                }
            }
            60 => {
                p.tasks.retain(|t| !Arc::ptr_eq(t, self));
                let last = p.tasks.is_empty();
                if last {
                    k.exited(self.pid, (a[0] as i32 & 0xff) << 8);
                }
                thread.exit();
            }
            231 => {
                k.exited(self.pid, (a[0] as i32 & 0xff) << 8);
                thread.space().kill();
            }
            61 => {
                k.waiting.push((self.pid, thread.clone(), a[1]));
                drop(g);
                thread.blocked();
                kernel().as_mut().unwrap().serve_waiters();
            }
            200 | 234 | 62 => {
                let (to, sig) = if nr == 234 { (a[1], a[2]) } else { (a[0], a[1]) };
                let target = k.processes.values().flat_map(|p| &p.tasks).find(|t| t.tid as u64 == to).cloned();
                drop(g);
                if let Some(t) = target {
                    t.pending.lock().unwrap().push(sig as u32);
                    if !Arc::ptr_eq(&t, self) {
                        let thread = t.thread.lock().unwrap().clone();
                        if let Some(thread) = thread {
                            thread.kick();
                        }
                    }
                }
                self.done(thread, 0);
            }
            318 => {
                let _ = space.write(a[0], &vec![7; a[1].min(256) as usize]);
                thread.ret(a[1] as i64);
            }
            // For hostile programs: where the stub's text lies.
            1002 => {
                let maps = std::fs::read_to_string(format!("/proc/{}/maps", space.host_pid())).unwrap();
                let at = maps.lines().filter(|l| l.contains(" r-xp ")).find_map(|l| {
                    let at = u64::from_str_radix(l.split('-').next()?, 16).ok()?;
                    (at as u32 == 0).then_some(at)
                });
                thread.ret(at.unwrap() as i64);
            }
            1003 => {
                thread.want_frame();
                *self.result.lock().unwrap() = Some(-1003);
            }
            // A host call that sleeps for some milliseconds.
            1005 => {
                drop(g);
                platform::block_in_place(|| std::thread::sleep(std::time::Duration::from_millis(a[0])));
                thread.ret(0);
            }
            // exec of the same program in a fresh process, with one more argument; the old one goes.
            59 => {
                k.argv = vec![k.argv[0].clone(), (a[0]).to_string()];
                let task = Task::new(self.pid, self.tid, true);
                p.tasks = vec![task.clone()];
                p.actions.clear();
                drop(g);
                *self.left.lock().unwrap() = true;
                space.kill();
                PLATFORM.get().unwrap().fresh(task, None);
            }
            // The host kills a guest process that may be there no more.
            1011 => {
                let task = k.processes.get(&(a[0] as i32)).and_then(|p| p.tasks.first()).cloned();
                drop(g);
                if let Some(other) = task.and_then(|t| t.thread.lock().unwrap().clone()) {
                    other.space().kill();
                }
                thread.ret(0);
            }
            // The host kills the process in the middle of a call.
            1007 => {
                let pid = a[0] as i32;
                let pid = if pid == 0 { space.host_pid() } else { pid };
                // SAFETY: a signal to a process of our own.
                unsafe { libc::kill(pid, 9) };
                drop(g);
                std::thread::sleep(std::time::Duration::from_millis(a[1]));
                thread.ret(0);
            }
            // Compare and swap, by the stub.
            1008 => {
                let op = Op::Cas32 { addr: a[0], old: a[1] as u32, new: a[2] as u32, wake: 1 };
                thread.script(Script { ops: vec![op], then: Then::ReturnLast });
            }
            1009 => thread.ret(thread.cpu_time() as i64),
            1010 => thread.ret(space.pages().map_or(-1, |p| p[1] as i64)),
            1006 => thread.ret(PLATFORM.get().unwrap().stats().parks as i64),
            1004 => {
                *self.result.lock().unwrap() = Some(-1004);
                thread.ret_then_kick(5);
            }
            _ => thread.ret(-38),
        }
    }

    fn signal(&self) -> Option<u32> {
        let mask = *self.mask.lock().unwrap();
        let mut pending = self.pending.lock().unwrap();
        let i = pending.iter().position(|s| mask & 1 << (s - 1) == 0)?;
        Some(pending.remove(i))
    }

    /// A call is done; a signal may go with it.
    fn done(&self, thread: &Arc<Thread>, value: i64) {
        let mask = *self.mask.lock().unwrap();
        let any = self.pending.lock().unwrap().iter().any(|s| mask & 1 << (s - 1) == 0);
        if any { thread.ret_then_kick(value) } else { thread.ret(value) }
    }

    /// All registers are held: delivers a signal or goes on.
    fn resume(&self, thread: &Arc<Thread>) {
        match self.signal() {
            Some(sig) => {
                let mut code = [0u8; 2];
                let wait =
                    thread.host_wait().filter(|w| thread.space().read(w.1, &mut code) == Ok(2) && code == [0x0f, 0x05]);
                self.deliver(thread, sig, 0, 0, wait.map(|_| -4));
            }
            None => thread.resume(),
        }
    }

    fn deliver(&self, thread: &Arc<Thread>, sig: u32, code: i32, addr: u64, rax: Option<i64>) {
        let mut g = kernel();
        let k = g.as_mut().unwrap();
        let p = &k.processes[&self.pid];
        let Some(action) = p.actions.get(&sig.into()).copied().filter(|a| a[0] > 1) else {
            k.exited(self.pid, sig as i32);
            thread.space().kill();
            return;
        };
        drop(g);
        let mut info = [0u8; 128];
        info[..4].copy_from_slice(&sig.to_le_bytes());
        info[8..12].copy_from_slice(&code.to_le_bytes());
        info[16..24].copy_from_slice(&addr.to_le_bytes());
        let mut mask = self.mask.lock().unwrap();
        let old = *mask;
        *mask |= action[3] | 1 << (sig - 1);
        let stack = *self.stack.lock().unwrap();
        let on_stack = (action[1] & 0x0800_0000 != 0 && stack.2 != 0).then_some(stack.0 + stack.2);
        thread.sigframe(SignalFrame {
            sig,
            info,
            handler: action[0],
            restorer: action[2],
            mask: old,
            altstack: stack,
            on_stack,
            rax,
            restart: false,
            at_call: rax.is_some(),
            nr: 0,
        });
    }
}

impl Kernel {
    fn exited(&mut self, pid: i32, status: i32) {
        let Some(p) = self.processes.get_mut(&pid) else { return };
        if p.status.is_some() {
            return;
        }
        p.status = Some(status);
        p.tasks.clear();
        if pid == 1 {
            if std::env::var_os("STATS").is_some() {
                eprintln!("{:?}", PLATFORM.get().unwrap().stats());
            }
            std::process::exit(if status & 127 != 0 { 128 + (status & 127) } else { status >> 8 });
        }
        self.serve_waiters();
    }

    fn serve_waiters(&mut self) {
        let mut i = 0;
        while i < self.waiting.len() {
            let (parent, ..) = self.waiting[i];
            let mut children = self.processes.iter().filter(|p| p.1.parent == parent).peekable();
            let none = children.peek().is_none();
            let dead = children.find(|p| p.1.status.is_some()).map(|p| *p.0);
            if let Some(dead) = dead {
                let (_, thread, at) = self.waiting.remove(i);
                let status = self.processes.remove(&dead).unwrap().status.unwrap();
                if at != 0 {
                    let _ = thread.space().write(at, &status.to_le_bytes());
                }
                thread.ret(dead.into());
            } else if none {
                let (_, thread, _) = self.waiting.remove(i);
                thread.ret(-10);
            } else {
                i += 1;
            }
        }
    }
}

impl Guest for Task {
    fn born(self: Arc<Self>, thread: Arc<Thread>) {
        *self.thread.lock().unwrap() = Some(thread.clone());
        if self.first { self.exec(&thread) } else { thread.resume() }
    }

    fn event(self: Arc<Self>, thread: &Arc<Thread>, event: Event) {
        match event {
            Event::Syscall { nr, args, .. } => self.call(thread, nr, args),
            Event::Kicked => {
                let special = self.result.lock().unwrap().take_if(|r| *r < -1000);
                match special {
                    Some(-1003) => {
                        let r = thread.regs().unwrap();
                        assert_eq!(r.rax, 1003, "want_frame shows the call");
                        thread.ret(r.rbx as i64);
                    }
                    Some(-1004) => {
                        let mut r = thread.regs().unwrap();
                        assert_eq!(r.rax, 5);
                        r.rax = r.rbx + 1;
                        thread.set_regs_resume(&r);
                    }
                    _ => self.resume(thread),
                }
            }
            Event::Fault { sig, code, addr, in_stub, .. } => {
                if in_stub {
                    kernel().as_mut().unwrap().exited(self.pid, sig);
                    thread.space().kill();
                } else {
                    self.deliver(thread, sig as u32, code, addr, None);
                }
            }
            Event::Done { result, at } => {
                let id = self.result.lock().unwrap().take();
                if result < 0 && id.is_none() {
                    eprintln!("operation {at} failed: {result}");
                }
                thread.ret(if result < 0 { result } else { id.unwrap_or(result) });
            }
        }
    }

    fn gone(self: Arc<Self>, status: i32) {
        if *self.left.lock().unwrap() {
            return;
        }
        if let Some(k) = kernel().as_mut() {
            k.exited(self.pid, if status & 127 != 0 { status & 127 } else { 9 });
        }
    }
}

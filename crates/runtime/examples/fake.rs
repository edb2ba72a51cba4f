//! `stockade` with a kernel that only pretends: the tests of the command line use it to go through every state without guest code.
//!
//! Programs: `true`, `exit N`, `sleep` (until a signal), `trap` (dies only of SIGKILL), `echo WORDS`, `cat`, `crash` (the kernel process aborts),
//! `forbidden` (a host call that the filter refuses); a program with a slash is "found" below /bin only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use sandbox::machine::*;
use sandbox::spec::{ContainerSpec, NewLimits, ProcessSpec};

fn main() -> ExitCode {
    runtime::main(|_context| {
        let finish = Box::new(|| Ok(Arc::new(Fake::default()) as Arc<dyn Machine>));
        Ok(Prepared { listener: true, finish })
    })
    .into()
}

#[derive(Default)]
struct Fake(Mutex<World>);

#[derive(Default)]
struct World {
    spec: Option<ContainerSpec>,
    io: Option<ProcessIo>,
    _gofer: Option<std::os::fd::OwnedFd>,
    started: bool,
    paused: bool,
    processes: HashMap<Pid, Task>,
    next: Pid,
}

struct Task {
    args: Vec<String>,
    end: Option<ExitStatus>,
    then: Option<Box<dyn FnOnce(ExitStatus) + Send>>,
}

fn check(process: &ProcessSpec) -> Result<Vec<String>, Failure> {
    let args: Vec<String> = process.args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    let name = args[0].trim_start_matches("/bin/");
    if !["true", "exit", "sleep", "trap", "echo", "cat", "crash", "forbidden"].contains(&name) {
        return Err(Failure::new(Kind::NotFound, format!("exec: {name:?}: executable file not found in $PATH")));
    }
    Ok(args)
}

impl World {
    fn begin(&mut self, pid: Pid, args: Vec<String>, io: ProcessIo) {
        let name = args[0].trim_start_matches("/bin/").to_string();
        let [stdin, stdout, _] = io.stdio;
        let mut out = stdout.or(io.console).map(File::from);
        let status = match name.as_str() {
            "exit" => Some(ExitStatus::Code(args[1].parse().unwrap())),
            "true" => Some(ExitStatus::Code(0)),
            "echo" => {
                writeln!(out.as_mut().unwrap(), "{}", args[1..].join(" ")).unwrap();
                Some(ExitStatus::Code(0))
            }
            "cat" => {
                let mut text = String::new();
                File::from(stdin.unwrap()).read_to_string(&mut text).unwrap();
                out.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
                Some(ExitStatus::Code(0))
            }
            "crash" => std::process::abort(),
            "forbidden" => {
                let _ = File::create("/x"); // openat is allowed (and fails)
                let _ = host::rustix::process::setsid(); // not on the list
                None
            }
            _ => None,
        };
        self.processes.insert(pid, Task { args, end: None, then: None });
        if let Some(status) = status {
            self.end(pid, status);
        }
    }

    fn end(&mut self, pid: Pid, status: ExitStatus) {
        let task = self.processes.get_mut(&pid).unwrap();
        task.end = Some(status);
        if let Some(then) = task.then.take() {
            then(status);
        }
    }
}

impl Machine for Fake {
    fn remove(&self, _: &str) {}

    fn create(&self, spec: ContainerSpec, files: ContainerFiles) -> Result<(), Failure> {
        let args = check(&spec.process).map_err(|e| e.context("unable to start container process"))?;
        let mut world = self.0.lock().unwrap();
        world.processes.insert(INIT, Task { args, end: None, then: None });
        world.spec = Some(spec);
        world.io = Some(files.io);
        world._gofer = Some(files.gofer);
        world.next = 2;
        Ok(())
    }

    fn start(&self, _: &str) -> Result<(), Failure> {
        let mut world = self.0.lock().unwrap();
        world.started = true;
        let (task, io) = (world.processes.remove(&INIT).unwrap(), world.io.take().unwrap());
        world.begin(INIT, task.args, io);
        if let Some(status) = world.processes[&INIT].end
            && let Some(then) = task.then
        {
            then(status);
        } else {
            world.processes.get_mut(&INIT).unwrap().then = task.then;
        }
        Ok(())
    }

    fn exec(&self, _: &str, process: ProcessSpec, io: ProcessIo) -> Result<Pid, Failure> {
        let args = check(&process).map_err(|e| e.context("unable to start container process"))?;
        let mut world = self.0.lock().unwrap();
        let pid = world.next;
        world.next += 1;
        world.begin(pid, args, io);
        Ok(pid)
    }

    fn signal(&self, _: &str, target: Target, signal: i32) -> Result<(), Failure> {
        let mut world = self.0.lock().unwrap();
        let pids: Vec<Pid> = match target {
            Target::Process(pid) => vec![pid],
            _ => world.processes.keys().copied().collect(),
        };
        for pid in pids {
            let Some(task) = world.processes.get(&pid) else {
                return Err(Failure::new(Kind::State, format!("no process {pid}")));
            };
            let deaf = task.args[0] == "trap" && signal != 9;
            if task.end.is_none() && !deaf {
                world.end(pid, ExitStatus::Signal { number: signal as u8, core: false });
            }
        }
        Ok(())
    }

    fn on_exit(&self, _: &str, pid: Pid, then: Box<dyn FnOnce(ExitStatus) + Send>) -> Result<(), Failure> {
        let mut world = self.0.lock().unwrap();
        let task = world.processes.get_mut(&pid).unwrap();
        match task.end {
            Some(status) => then(status),
            None => task.then = Some(then),
        }
        Ok(())
    }

    fn processes(&self, _: &str) -> Result<Vec<Process>, Failure> {
        let world = self.0.lock().unwrap();
        let line = |(pid, task): (&Pid, &Task)| Process {
            host: *pid,
            pid: *pid,
            ppid: 0,
            uid: 0,
            started: 0,
            cpu_ms: 0,
            state: 'S',
            tty: None,
            command: task.args.join(" "),
        };
        Ok(world.processes.iter().filter(|(_, t)| t.end.is_none()).map(line).collect())
    }

    fn status(&self, _: &str) -> Result<Status, Failure> {
        let world = self.0.lock().unwrap();
        Ok(match (world.started, world.paused) {
            (_, true) => Status::Paused,
            (true, _) => Status::Running,
            (false, _) => Status::Created,
        })
    }

    fn resize(&self, _: &str, _: Pid, _: u16, _: u16) -> Result<(), Failure> {
        Ok(())
    }

    fn mounts(&self, _: &str) -> Result<Vec<Mounted>, Failure> {
        Ok(Vec::new())
    }

    fn stats(&self, _: &str) -> Result<Stats, Failure> {
        Ok(Stats { cpu_total_ns: 1, memory_bytes: 2, pids: 3, ..Stats::default() })
    }

    fn limit(&self, _: &str, _: NewLimits) -> Result<(), Failure> {
        Ok(())
    }

    fn pause(&self, _: &str, paused: bool) -> Result<(), Failure> {
        self.0.lock().unwrap().paused = paused;
        Ok(())
    }
}

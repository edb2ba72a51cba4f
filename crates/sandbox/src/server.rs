//! The control server: one thread of the kernel process that answers the command line (docs/control-protocol.md).
//!
//! It owns the listener, the connections, and the kernel process' signals and end: the process ends when the container's first program has, with
//! its status. Neighbours: `protocol`, `machine`. Locks: `Exits::table`, never held over a host call or a call of the machine.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use host::rustix::io::Errno;
use host::signals::{Incoming, SignalFd};

use crate::machine::{ContainerFiles, ExitStatus, Failure, INIT, Kind, Machine, Pid, ProcessIo, Target};
use crate::protocol::{IoShape, ProtocolError, Reply, Request, receive, send};

/// More connections than this wait in the listener's queue.
const MAX_CONNECTIONS: usize = 256;

/// Signals that are passed on to the container's first process, as if it were a process of the host.
pub const FORWARDED: [i32; 10] = [1, 2, 3, 10, 12, 14, 15, 18, 20, 28];
const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGWINCH: i32 = 28;

/// The server, before its loop runs.
pub struct Server {
    machine: Arc<dyn Machine>,
    listener: Option<OwnedFd>,
    connections: Vec<Connection>,
    exits: Arc<Exits>,
    signals: SignalFd,
    /// The container whose end is the sandbox' end.
    main: Option<String>,
    /// Further containers whose connection has ended, and whose first program is about to.
    doomed: Vec<String>,
    /// Each container's connection to its gofer, whose end is the container's.
    gofers: Vec<(String, OwnedFd)>,
    console: Option<OwnedFd>,
}

struct Connection {
    socket: Arc<OwnedFd>,
    /// The one that made the sandbox: the sandbox dies with it until it says `Detach`.
    creator: bool,
    /// Processes that die with this connection.
    execs: Vec<Key>,
    /// Containers that do.
    containers: Vec<String>,
}

type Key = (String, Pid);

/// Processes that were started through the server, and who waits for their end.
struct Exits {
    table: Mutex<HashMap<Key, Exit>>,
    bell: OwnedFd,
}

#[derive(Default)]
struct Exit {
    status: Option<ExitStatus>,
    waiters: Vec<Arc<OwnedFd>>,
}

/// What a request leads to beside its reply.
enum Next {
    Reply(Reply),
    Nothing,
    End(u8),
}

impl Server {
    /// `creator` is the connection of the process that made the sandbox.
    pub fn new(
        machine: Arc<dyn Machine>,
        signals: SignalFd,
        creator: OwnedFd,
        listener: Option<OwnedFd>,
    ) -> Result<Self, Errno> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let exits = Arc::new(Exits { table: Mutex::new(HashMap::new()), bell });
        let creator =
            Connection { socket: Arc::new(creator), creator: true, execs: Vec::new(), containers: Vec::new() };
        Ok(Server {
            machine,
            listener,
            connections: vec![creator],
            exits,
            signals,
            main: None,
            doomed: Vec::new(),
            gofers: Vec::new(),
            console: None,
        })
    }

    /// Serves until the sandbox shall end; the exit status of the kernel process.
    pub fn run(mut self) -> u8 {
        let code = loop {
            if let Some(code) = self.turn() {
                break code;
            }
        };
        // The creator that still waits is told in any case: it may not have come to ask.
        let end = self.main_exit();
        for creator in self.connections.iter().filter(|c| c.creator) {
            if let Some(status) = end {
                let _ = send(&*creator.socket, &Reply::Exited(status), &[], false);
            }
        }
        self.exits.finish();
        self.machine.shutdown();
        code
    }

    /// Waits for something and deals with it.
    fn turn(&mut self) -> Option<u8> {
        let ready = self.wait();
        if ready.is_empty() {
            return None;
        }
        if ready.contains(&Source::Bell) {
            self.exits.quiet();
            if let Some(status) = self.main_exit() {
                return Some(status.code());
            }
            for id in std::mem::take(&mut self.doomed) {
                self.bury(id);
            }
        }
        if ready.contains(&Source::Signals) {
            while let Some(signal) = self.signals.next() {
                self.forward(signal);
            }
        }
        for source in ready.iter().rev() {
            if let Source::Gofer(at) = *source {
                self.bereave(at);
            }
        }
        // From the last to the first, so that removing one keeps the numbers of those to come.
        for source in ready.iter().rev() {
            let Source::Connection(at) = *source else { continue };
            match self.serve(at) {
                Ok(Next::Nothing) => {}
                Ok(Next::Reply(reply)) => {
                    // A client that does not read its answers loses its connection, not our time.
                    if self.connections.get(at).is_some_and(|c| send(&*c.socket, &reply, &[], false).is_err())
                        && let Some(code) = self.close(at)
                    {
                        return Some(code);
                    }
                }
                Ok(Next::End(code)) => return Some(code),
                Err(_) => {
                    if let Some(code) = self.close(at) {
                        return Some(code);
                    }
                }
            }
        }
        if ready.contains(&Source::Listener)
            && let Some(listener) = &self.listener
            && let Ok(socket) = host::message::accept(listener.as_fd())
        {
            self.connections.push(Connection {
                socket: Arc::new(socket),
                creator: false,
                execs: Vec::new(),
                containers: Vec::new(),
            });
        }
        None
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![(Source::Bell, self.exits.bell.as_fd()), (Source::Signals, self.signals.as_fd())];
        if let Some(listener) = &self.listener
            && self.connections.len() < MAX_CONNECTIONS
        {
            sources.push((Source::Listener, listener.as_fd()));
        }
        sources.extend(self.connections.iter().enumerate().map(|(at, c)| (Source::Connection(at), c.socket.as_fd())));
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd): &(Source, BorrowedFd<'_>)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        // What comes from a gofer is the file system's; its end shows unasked.
        for (at, (_, socket)) in self.gofers.iter().enumerate() {
            sources.push((Source::Gofer(at), socket.as_fd()));
            polled.push(PollFd::new(socket, PollFlags::empty()));
        }
        if poll(&mut polled, None).is_err() {
            return Vec::new(); // EINTR
        }
        sources.iter().zip(&polled).filter(|(_, p)| !p.revents().is_empty()).map(|((s, _), _)| *s).collect()
    }

    /// Reads and carries out one request of connection `at`; an error ends the connection.
    fn serve(&mut self, at: usize) -> Result<Next, ProtocolError> {
        let Some(connection) = self.connections.get(at) else { return Ok(Next::Nothing) };
        let socket = connection.socket.clone();
        let creator = connection.creator;
        let (request, fds) = match receive::<Request>(&*socket, false) {
            Err(ProtocolError::Host(Errno::AGAIN)) => return Ok(Next::Nothing),
            other => other?,
        };
        let done = |result: Result<(), Failure>| Next::Reply(result.map_or_else(Reply::Failed, |()| Reply::Done));
        let machine = self.machine.clone();
        Ok(match request {
            Request::Boot(_) => return Err(ProtocolError::Malformed),
            Request::Create { spec, io, gofer: true, cgroups } if creator && self.main.is_none() => {
                let (id, files) = (spec.id.clone(), files(io, fds, cgroups)?);
                let gofer = files.gofer.try_clone().ok();
                self.console = files.io.console.as_ref().and_then(|fd| fd.try_clone().ok());
                let made = machine.create(*spec, files).and_then(|()| self.watch(&id, INIT));
                if made.is_ok() {
                    self.gofers.extend(gofer.map(|gofer| (id.clone(), gofer)));
                    self.main = Some(id);
                }
                done(made)
            }
            Request::Create { spec, io, gofer: true, cgroups }
                if !creator && self.main.is_some() && spec.pod.is_some() =>
            {
                let (id, files) = (spec.id.clone(), files(io, fds, cgroups)?);
                let gofer = files.gofer.try_clone().ok();
                let made = machine.create(*spec, files).and_then(|()| self.watch(&id, INIT));
                if let (Ok(()), Some(connection)) = (&made, self.connections.get_mut(at)) {
                    self.gofers.extend(gofer.map(|gofer| (id.clone(), gofer)));
                    connection.containers.push(id);
                }
                done(made)
            }
            Request::Create { .. } => return Err(ProtocolError::Malformed),
            Request::Detach if creator => {
                let _ = host::rustix::process::set_parent_process_death_signal(None);
                if let Some(connection) = self.connections.get_mut(at) {
                    connection.creator = false;
                }
                Next::Reply(Reply::Done)
            }
            Request::Detach => return Err(ProtocolError::Malformed),
            Request::Start { container } => done(machine.start(&container)),
            Request::Exec { container, process, io } => {
                let io = take(io, &mut fds.into_iter())?;
                match machine.exec(&container, *process, io) {
                    Err(failure) => Next::Reply(Reply::Failed(failure)),
                    Ok(pid) => {
                        if let Some(connection) = self.connections.get_mut(at) {
                            connection.execs.push((container.clone(), pid));
                        }
                        Next::Reply(self.watch(&container, pid).map_or_else(Reply::Failed, |()| Reply::Pid(pid)))
                    }
                }
            }
            Request::Signal { container, target, signal, quiet } => {
                let sent = if (0..=64).contains(&signal) {
                    machine.signal(&container, target, signal)
                } else {
                    Err(Failure::new(Kind::Invalid, format!("signal {signal} does not exist")))
                };
                if quiet { Next::Nothing } else { done(sent) }
            }
            Request::Wait { container, pid } => match self.exits.wait((container, pid), socket) {
                Ok(None) => Next::Nothing,
                Ok(Some(status)) => Next::Reply(Reply::Exited(status)),
                Err(failure) => Next::Reply(Reply::Failed(failure)),
            },
            Request::Processes { container } => {
                Next::Reply(machine.processes(&container).map_or_else(Reply::Failed, Reply::Processes))
            }
            Request::State { container } => {
                Next::Reply(machine.status(&container).map_or_else(Reply::Failed, Reply::State))
            }
            Request::Stats { container } => {
                Next::Reply(machine.stats(&container).map_or_else(Reply::Failed, Reply::Stats))
            }
            Request::Mounts { container } => {
                Next::Reply(machine.mounts(&container).map_or_else(Reply::Failed, Reply::Mounts))
            }
            Request::Limit { container, limits } => done(machine.limit(&container, limits)),
            Request::Resize { container, pid, rows, cols } => {
                let _ = machine.resize(&container, pid, rows, cols);
                Next::Nothing
            }
            Request::Pause { container, paused, quiet } => {
                let answer = machine.pause(&container, paused);
                if quiet { Next::Nothing } else { done(answer) }
            }
            Request::Shutdown => Next::End(128 | SIGKILL as u8),
        })
    }

    /// Has the end of a process recorded, and waited for.
    fn watch(&self, container: &str, pid: Pid) -> Result<(), Failure> {
        let key = (container.to_string(), pid);
        self.exits.lock().insert(key.clone(), Exit::default());
        let exits = self.exits.clone();
        self.machine.on_exit(container, pid, Box::new(move |status| exits.ended(&key, status)))
    }

    /// How the main container's first process ended, once it has.
    fn main_exit(&self) -> Option<ExitStatus> {
        let main = self.main.as_ref()?;
        self.exits.lock().get(&(main.clone(), INIT))?.status
    }

    /// Ends a connection and what hangs on it; `Some` when the sandbox hangs on it.
    fn close(&mut self, at: usize) -> Option<u8> {
        if at >= self.connections.len() {
            return None;
        }
        let gone = self.connections.remove(at);
        if gone.creator {
            return Some(128 | SIGKILL as u8);
        }
        for key in gone.execs {
            let ended = self.exits.lock().remove(&key).is_none_or(|exit| exit.status.is_some());
            if !ended {
                let _ = self.machine.signal(&key.0, Target::Process(key.1), SIGKILL);
            }
        }
        self.exits.forget(&gone.socket);
        for id in gone.containers {
            self.bury(id);
        }
        None
    }

    /// Forgets a container once its first program has ended, which is killed if it has not.
    fn bury(&mut self, id: String) {
        let ended = self.exits.lock().get(&(id.clone(), INIT)).is_none_or(|exit| exit.status.is_some());
        if ended {
            self.gofers.retain(|(of, _)| *of != id);
            self.machine.remove(&id);
            self.exits.lock().retain(|key, _| key.0 != id);
        } else {
            let _ = self.machine.signal(&id, Target::Process(INIT), SIGKILL);
            self.doomed.push(id);
        }
    }

    /// A container without its files cannot go on: it ends, and the log says why.
    fn bereave(&mut self, at: usize) {
        if at >= self.gofers.len() {
            return;
        }
        let (id, _) = self.gofers.remove(at);
        observe::error!(
            "the gofer of container {id} is gone (killed, or out of memory?), and with it the container's files: the container is killed"
        );
        let _ = self.machine.signal(&id, Target::Process(INIT), SIGKILL);
    }

    /// A signal that someone on the host sent to the kernel process goes to the container's first process.
    fn forward(&self, signal: Incoming) {
        let Some(main) = &self.main else { return };
        if signal.number == SIGWINCH {
            if let Some(size) = self.console.as_ref().and_then(|fd| host::rustix::termios::tcgetwinsize(fd).ok()) {
                let _ = self.machine.resize(main, INIT, size.ws_row, size.ws_col);
            }
        } else if signal.by_process || signal.number != SIGCONT {
            // A terminal's hang-up comes to us as SIGHUP and SIGCONT of the host's kernel; the relay tells the guest about it by itself.
            if signal.by_process {
                let _ = self.machine.signal(main, Target::Process(INIT), signal.number);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Bell,
    Signals,
    Listener,
    Connection(usize),
    Gofer(usize),
}

/// All that comes with a container.
fn files(io: IoShape, fds: Vec<OwnedFd>, cgroups: u32) -> Result<ContainerFiles, ProtocolError> {
    let mut fds = fds.into_iter();
    let io = take(io, &mut fds)?;
    let gofer = fds.next().ok_or(ProtocolError::Malformed)?;
    let cgroups: Vec<OwnedFd> = fds.by_ref().take(cgroups as usize).collect();
    Ok(ContainerFiles { io, gofer, cgroups })
}

/// Takes a process' descriptors off a message's.
fn take(shape: IoShape, fds: &mut impl Iterator<Item = OwnedFd>) -> Result<ProcessIo, ProtocolError> {
    let mut next = |wanted: bool| if wanted { fds.next().map(Some).ok_or(ProtocolError::Malformed) } else { Ok(None) };
    let [stdin, stdout, stderr] = shape.stdio;
    let stdio = [next(stdin)?, next(stdout)?, next(stderr)?];
    let console = next(shape.console)?;
    let extra = fds.take(shape.extra as usize).collect();
    Ok(ProcessIo { stdio, console, extra })
}

impl Exits {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Exit>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine's callback.
    fn ended(&self, key: &Key, status: ExitStatus) {
        let waiters = match self.lock().get_mut(key) {
            Some(exit) => {
                exit.status = Some(status);
                std::mem::take(&mut exit.waiters)
            }
            None => Vec::new(),
        };
        for waiter in waiters {
            let _ = send(&*waiter, &Reply::Exited(status), &[], false);
        }
        let _ = host::rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn wait(&self, key: Key, waiter: Arc<OwnedFd>) -> Result<Option<ExitStatus>, Failure> {
        match self.lock().get_mut(&key) {
            None => Err(Failure::new(
                Kind::State,
                format!("process {} of container {} was not started by stockade", key.1, key.0),
            )),
            Some(exit) => {
                if exit.status.is_none() {
                    exit.waiters.push(waiter);
                }
                Ok(exit.status)
            }
        }
    }

    fn forget(&self, socket: &Arc<OwnedFd>) {
        for exit in self.lock().values_mut() {
            exit.waiters.retain(|w| !Arc::ptr_eq(w, socket));
        }
    }

    /// The sandbox ends: whoever still waits hears that the process was killed.
    fn finish(&self) {
        let left: Vec<Exit> = self.lock().drain().map(|(_, exit)| exit).collect();
        for exit in left {
            let status = exit.status.unwrap_or(ExitStatus::Signal { number: SIGKILL as u8, core: false });
            for waiter in exit.waiters {
                let _ = send(&*waiter, &Reply::Exited(status), &[], false);
            }
        }
    }

    fn quiet(&self) {
        let _ = host::rustix::io::read(&self.bell, &mut [0u8; 8]);
    }
}

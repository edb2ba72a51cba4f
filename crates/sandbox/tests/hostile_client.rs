//! What clients of the control socket can send, at random: requests in any order, from several connections, with any descriptors, and damaged messages; the handover of a
//! pod's containers is one of them. The server answers or ends the connection, and goes on serving whoever is well-behaved, until the sandbox' end is due.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use host::message;
use host::rustix::event::{PollFd, PollFlags, Timespec, poll};
use host::signals::SignalFd;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use sandbox::machine::*;
use sandbox::protocol::{BootConfig, IoShape, Reply, Request, receive, send};
use sandbox::server::Server;
use sandbox::spec::{ContainerSpec, NewLimits, Pod, ProcessSpec};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Then = Box<dyn FnOnce(ExitStatus) + Send>;

/// A machine that only keeps accounts, and fails on what a real one would refuse.
#[derive(Default)]
struct Accounts {
    /// Who runs, and what is to be told at its end.
    processes: Mutex<HashMap<(String, Pid), Option<Then>>>,
    next: AtomicU32,
}

impl Accounts {
    fn known(&self, container: &str, pid: Pid) -> Result<(), Failure> {
        let known = self.processes.lock().unwrap().contains_key(&(container.to_string(), pid));
        if known { Ok(()) } else { Err(Failure::new(Kind::State, "no such process")) }
    }
}

impl Machine for Accounts {
    fn create(&self, spec: ContainerSpec, _: ContainerFiles) -> Result<(), Failure> {
        let mut all = self.processes.lock().unwrap();
        if all.contains_key(&(spec.id.clone(), INIT)) {
            return Err(Failure::new(Kind::State, "it is there already"));
        }
        all.insert((spec.id, INIT), None);
        Ok(())
    }
    fn remove(&self, container: &str) {
        self.processes.lock().unwrap().retain(|key, _| key.0 != container);
    }
    fn start(&self, container: &str) -> Result<(), Failure> {
        self.known(container, INIT)
    }
    fn exec(&self, container: &str, process: ProcessSpec, _: ProcessIo) -> Result<Pid, Failure> {
        self.known(container, INIT)?;
        if process.args.is_empty() {
            return Err(Failure::new(Kind::NotFound, "nothing to run"));
        }
        let pid = 2 + self.next.fetch_add(1, Ordering::Relaxed) as Pid;
        self.processes.lock().unwrap().insert((container.to_string(), pid), None);
        Ok(pid)
    }
    fn signal(&self, container: &str, target: Target, signal: i32) -> Result<(), Failure> {
        assert!((0..=64).contains(&signal));
        let Target::Process(pid) = target else { return Ok(()) };
        self.known(container, pid)?;
        // SIGKILL of one that is not the sandbox' own end.
        if signal == 9 && container != "main" {
            let gone = self.processes.lock().unwrap().remove(&(container.to_string(), pid)).flatten();
            if let Some(then) = gone {
                then(ExitStatus::Signal { number: 9, core: false });
            }
        }
        Ok(())
    }
    fn on_exit(&self, container: &str, pid: Pid, then: Then) -> Result<(), Failure> {
        match self.processes.lock().unwrap().get_mut(&(container.to_string(), pid)) {
            Some(slot) => *slot = Some(then),
            None => return Err(Failure::new(Kind::State, "no such process")),
        }
        Ok(())
    }
    fn processes(&self, container: &str) -> Result<Vec<Process>, Failure> {
        self.known(container, INIT).map(|()| Vec::new())
    }
    fn status(&self, container: &str) -> Result<Status, Failure> {
        self.known(container, INIT)?;
        Err(Failure::new(Kind::State, "it keeps accounts only"))
    }
    fn resize(&self, container: &str, pid: Pid, _: u16, _: u16) -> Result<(), Failure> {
        self.known(container, pid)
    }
    fn mounts(&self, container: &str) -> Result<Vec<Mounted>, Failure> {
        self.known(container, INIT).map(|()| Vec::new())
    }
    fn stats(&self, container: &str) -> Result<Stats, Failure> {
        self.known(container, INIT).map(|()| Stats::default())
    }
    fn limit(&self, container: &str, _: NewLimits) -> Result<(), Failure> {
        self.known(container, INIT)
    }
    fn pause(&self, container: &str, _: bool) -> Result<(), Failure> {
        self.known(container, INIT)
    }
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["main", "second", "third", "", "../x"]).prop_map(str::to_string)
}

fn pid() -> impl Strategy<Value = Pid> {
    prop_oneof![Just(1), 2..6, any::<Pid>()]
}

fn shape() -> impl Strategy<Value = IoShape> {
    let extra = prop_oneof![4 => 0..3u32, 1 => any::<u32>()];
    (any::<[bool; 3]>(), any::<bool>(), extra).prop_map(|(stdio, console, extra)| IoShape { stdio, console, extra })
}

fn request() -> impl Strategy<Value = Request> {
    let process = || vec(vec(any::<u8>(), 0..8), 0..3).prop_map(|args| ProcessSpec { args, ..ProcessSpec::default() });
    let target = prop_oneof![pid().prop_map(Target::Process), pid().prop_map(Target::Foreground), Just(Target::All)];
    let number = || prop_oneof![0..3u32, any::<u32>()];
    let pod = proptest::option::of(name().prop_map(|sandbox| Pod { sandbox, ..Pod::default() }));
    prop_oneof![
        1 => Just(Request::Boot(BootConfig::default())),
        6 => (name(), pod, process(), shape(), prop::bool::weighted(0.9), number()).prop_map(
            |(id, pod, process, io, gofer, cgroups)| {
                let spec = Box::new(ContainerSpec { id, pod, process, ..ContainerSpec::default() });
                Request::Create { spec, io, gofer, cgroups }
            }
        ),
        1 => Just(Request::Detach),
        2 => name().prop_map(|container| Request::Start { container }),
        4 => (name(), process(), shape()).prop_map(|(container, process, io)| Request::Exec {
            container,
            process: Box::new(process),
            io
        }),
        3 => (name(), target, prop_oneof![0..66i32, any::<i32>()], any::<bool>())
            .prop_map(|(container, target, signal, quiet)| Request::Signal { container, target, signal, quiet }),
        3 => (name(), pid()).prop_map(|(container, pid)| Request::Wait { container, pid }),
        1 => name().prop_map(|container| Request::Processes { container }),
        1 => name().prop_map(|container| Request::State { container }),
        1 => (name(), pid(), any::<u16>(), any::<u16>())
            .prop_map(|(container, pid, rows, cols)| Request::Resize { container, pid, rows, cols }),
        1 => name().prop_map(|container| Request::Stats { container }),
        1 => name().prop_map(|container| Request::Mounts { container }),
        1 => name().prop_map(|container| Request::Limit { container, limits: NewLimits::default() }),
        1 => (name(), any::<bool>(), any::<bool>())
            .prop_map(|(container, paused, quiet)| Request::Pause { container, paused, quiet }),
    ]
}

/// What a client does.
#[derive(Clone, Debug)]
enum Step {
    /// With so many descriptors.
    Send(Box<Request>, usize),
    Damaged(Box<Request>, Vec<(Index, u8)>, usize),
    Raw(Vec<u8>, usize),
    /// A long message whose memfd is something else.
    Long(usize),
    /// Closes, and comes again.
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (request(), 0..8usize).prop_map(|(request, fds)| Step::Send(Box::new(request), fds)),
        4 => (request(), vec((any::<Index>(), any::<u8>()), 1..4), 0..8usize)
            .prop_map(|(request, damage, fds)| Step::Damaged(Box::new(request), damage, fds)),
        1 => (vec(any::<u8>(), 1..60), 0..3usize).prop_map(|(bytes, fds)| Step::Raw(bytes, fds)),
        1 => (0..4usize).prop_map(Step::Long),
        1 => Just(Step::Leave),
    ]
}

fn config() -> ProptestConfig {
    let kept = Box::new(FileFailurePersistence::WithSource("regressions"));
    let all = ProptestConfig { failure_persistence: Some(kept), max_shrink_iters: 300, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { all } else { ProptestConfig { cases: 150, ..all } }
}

/// A server, its door, and what it ends with.
struct House {
    dir: std::path::PathBuf,
    server: std::thread::JoinHandle<u8>,
}

impl House {
    fn new() -> (House, OwnedFd) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("stockade-control-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (ours, theirs) = message::pair().unwrap();
        let listener = message::listen_in(std::fs::File::open(&dir).unwrap().as_fd(), "sock").unwrap();
        let server = std::thread::spawn(move || {
            let signals = SignalFd::block(&[]).unwrap();
            Server::new(Arc::new(Accounts::default()), signals, theirs, Some(listener)).unwrap().run()
        });
        (House { dir, server }, ours)
    }

    fn connect(&self) -> Option<OwnedFd> {
        message::connect_in(std::fs::File::open(&self.dir).unwrap().as_fd(), "sock").ok()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn clients_of_every_kind_hold_up_nobody(steps in vec((0..4usize, step()), 1..60)) {
        let (house, creator) = House::new();
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let pipe = host::rustix::pipe::pipe().unwrap();
        // The creator makes the sandbox' own container first; the sandbox is to live when it leaves.
        let spec = Box::new(ContainerSpec { id: "main".into(), ..ContainerSpec::default() });
        let create = Request::Create { spec, io: IoShape::default(), gofer: true, cgroups: 0 };
        send(&creator, &create, &[null.as_fd()], true).unwrap();
        prop_assert!(matches!(receive::<Reply>(&creator, true), Ok((Reply::Done, _))));
        send(&creator, &Request::Detach, &[], true).unwrap();
        prop_assert!(matches!(receive::<Reply>(&creator, true), Ok((Reply::Done, _))));
        let mut clients = [Some(creator), house.connect(), house.connect(), house.connect()];
        for (at, step) in steps {
            if clients[at].is_none() {
                clients[at] = house.connect();
            }
            let Some(socket) = &clients[at] else { continue };
            let fds = |count| -> Vec<BorrowedFd<'_>> { vec![null.as_fd(); count] };
            match step {
                Step::Send(request, count) => drop(send(socket, &*request, &fds(count), false)),
                Step::Damaged(request, damage, count) => {
                    let mut bytes = vec![0];
                    bytes.extend(postcard::to_allocvec(&*request).unwrap());
                    for (index, to) in damage {
                        *index.get_mut(bytes.as_mut_slice()) = to;
                    }
                    // The end of the sandbox is nobody's to say here. A varint has more than one spelling: only reading tells.
                    if !matches!(postcard::from_bytes(&bytes[1..]), Ok(Request::Shutdown)) {
                        let _ = message::send(socket, &bytes, &fds(count), false);
                    }
                }
                Step::Raw(bytes, count) => drop(message::send(socket, &bytes, &fds(count), false)),
                Step::Long(kind) => {
                    let what = [null.as_fd(), pipe.0.as_fd(), socket.as_fd(), pipe.1.as_fd()][kind];
                    let _ = message::send(socket, &[1], &[what], false);
                }
                Step::Leave => clients[at] = None,
            }
            // Some answers are read, others never.
            if at % 2 == 1 && let Some(socket) = &clients[at] && matches!(message::receive(socket, false), Ok(None)) {
                clients[at] = None;
            }
        }
        let end = Instant::now() + Duration::from_secs(10);
        let good = house.connect().expect("nobody listens");
        send(&good, &Request::Processes { container: "main".into() }, &[], true).unwrap();
        let mut polled = [PollFd::new(&good, PollFlags::IN)];
        prop_assert_eq!(poll(&mut polled, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })), Ok(1), "the server hangs");
        prop_assert!(matches!(receive::<Reply>(&good, true), Ok((Reply::Processes(_), _))), "the server is gone");
        send(&good, &Request::Shutdown, &[], true).unwrap();
        while !house.server.is_finished() {
            prop_assert!(Instant::now() < end, "the sandbox does not end");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The creator's first word decides: without it, and with its end, the sandbox ends.
#[test]
fn a_creator_that_leaves_ends_the_sandbox() {
    let (house, creator) = House::new();
    let other = house.connect().unwrap();
    drop(creator);
    assert!(receive::<Reply>(&other, true).is_err());
    let end = Instant::now() + Duration::from_secs(10);
    while !house.server.is_finished() {
        assert!(Instant::now() < end, "the sandbox does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

//! Finds tasks that are stuck in the kernel: whose run of a call does not come to its end, because its host thread waits for a lock or in a host call, or spins.
//!
//! Each host thread that runs tasks has a seat, where it notes by plain stores what it is about. A thread of the watchdog's own looks at all seats from time to time
//! while there is anything to see, and sleeps otherwise: an idle sandbox costs nothing. A task that waits (`wait`) has left its seat and is never reported.
//! Neighbours: `drive` takes and leaves the seats. Locks: a `Leaf` around the list of seats, with nothing taken under it.

use super::Task;
use crate::Kernel;
use crate::locks::Leaf;
use abi::Errno;
use host::epoll::{Epoll, TimerFd};
use lock::Mutex;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// No call.
const NONE: u32 = u32::MAX;

struct Watchdog {
    /// How long a run may take.
    limit: Duration,
    epoll: Epoll,
    /// Arming it is one host call, and wakes nobody before it expires.
    timer: TimerFd,
    /// The timer runs.
    armed: AtomicBool,
    seats: Mutex<Vec<&'static Seat>, Leaf>,
    /// For tests: the call by this number is held up.
    stalled: u32,
}

/// What a host thread is about.
struct Seat {
    host_tid: i32,
    /// Odd while it runs a task; goes up at each beginning and end.
    turn: AtomicU64,
    /// The task's number in the root PID namespace, its call and arguments.
    task: AtomicI32,
    nr: AtomicU32,
    args: [AtomicU64; 6],
}

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

thread_local! {
    static SEAT: &'static Seat = {
        let host_tid = host::rustix::thread::gettid().as_raw_nonzero().get();
        let seat: &'static Seat = Box::leak(Box::new(Seat {
            host_tid,
            turn: AtomicU64::new(0),
            task: AtomicI32::new(0),
            nr: AtomicU32::new(NONE),
            args: Default::default(),
        }));
        if let Some(watchdog) = WATCHDOG.get() {
            watchdog.seats.lock().push(seat);
        }
        seat
    };
}

/// Makes its descriptors, before lock-down; without this nothing is noted. `stalled` is a call that tests have held up. `run` is to be called on a thread of its own later.
pub fn init(limit: Duration, stalled: Option<u32>) -> Result<(), Errno> {
    let epoll = Epoll::new()?;
    let timer = TimerFd::new()?;
    epoll.add(timer.fd(), 0, crate::wait::Events::IN.bits())?;
    let (armed, seats) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let _ = WATCHDOG.set(Watchdog { limit, epoll, timer, armed, seats, stalled: stalled.unwrap_or(NONE) });
    Ok(())
}

/// A host thread's work on one task; over when dropped.
pub(super) struct Turn(Option<&'static Seat>);

impl Turn {
    pub fn begin(task: &Task) -> Turn {
        let Some(watchdog) = WATCHDOG.get() else { return Turn(None) };
        let seat = SEAT.with(|seat| *seat);
        seat.task.store(task.pid.number_in(&task.kernel.root_pid_ns), Relaxed);
        seat.nr.store(NONE, Relaxed);
        // Before the look at `armed`: the watchdog disarms first, then looks at the seats.
        seat.turn.fetch_add(1, SeqCst);
        watchdog.arm();
        Turn(Some(seat))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(seat) = self.0 {
            seat.turn.store(seat.turn.load(Relaxed) + 1, Release); // nobody else sits there
        }
    }
}

/// The call that this host thread runs now.
pub(super) fn calls(nr: u32, args: &[u64; 6]) {
    let Some(watchdog) = WATCHDOG.get() else { return };
    SEAT.with(|seat| {
        for (to, from) in seat.args.iter().zip(args) {
            to.store(*from, Relaxed);
        }
        seat.nr.store(nr, Relaxed);
    });
    if nr == watchdog.stalled {
        std::thread::sleep(watchdog.limit * 2);
    }
}

/// The watchdog thread's body.
pub fn run(kernel: &Arc<Kernel>) {
    let Some(watchdog) = WATCHDOG.get() else { return };
    let mut looks: Vec<Look> = Vec::new();
    let mut ready = Vec::new();
    loop {
        ready.clear();
        watchdog.epoll.wait(&mut ready);
        watchdog.timer.acknowledge();
        watchdog.armed.store(false, SeqCst);
        let seats = watchdog.seats.lock().clone();
        for seat in seats.iter().skip(looks.len()) {
            looks.push(Look { seat, turn: 0, since: Instant::now(), reported: false });
        }
        let mut any = false;
        for look in &mut looks {
            any |= look.again(kernel, watchdog.limit);
        }
        if any {
            watchdog.arm();
        }
    }
}

impl Watchdog {
    /// Sees to it that somebody looks soon.
    fn arm(&self) {
        if !self.armed.load(SeqCst) && !self.armed.swap(true, SeqCst) {
            self.timer.arm(crate::time::monotonic().saturating_add(self.limit.as_nanos() as u64 / 4));
        }
    }
}

/// What was seen of a seat.
struct Look {
    seat: &'static Seat,
    turn: u64,
    since: Instant,
    reported: bool,
}

impl Look {
    /// Looks again; returns whether somebody sits there.
    fn again(&mut self, kernel: &Arc<Kernel>, limit: Duration) -> bool {
        let turn = self.seat.turn.load(SeqCst);
        let taken = turn % 2 == 1;
        if turn != self.turn {
            if self.reported {
                let after = self.since.elapsed().as_secs();
                observe::error!("watchdog: host thread {} goes on after {after} s", self.seat.host_tid);
            }
            (self.turn, self.since, self.reported) = (turn, Instant::now(), false);
        } else if taken && !self.reported && self.since.elapsed() >= limit {
            self.reported = true;
            report(kernel, self.seat, self.since.elapsed());
        }
        taken
    }
}

/// What is known of a stuck task and its host thread.
fn report(kernel: &Arc<Kernel>, seat: &Seat, age: Duration) {
    let number = seat.task.load(Relaxed);
    let name = kernel.root_pid_ns.task(number).map_or_else(Vec::new, |task| task.comm());
    let call = match (kernel.table)(seat.nr.load(Relaxed)) {
        Some(row) => {
            let args: Vec<String> = seat.args.iter().map(|arg| format!("{:#x}", arg.load(Relaxed))).collect();
            format!("in {}({})", row.name, args.join(", "))
        }
        None => "outside of a call".to_string(),
    };
    let host = |file: &str| {
        let text = kernel.platform.host_proc(&format!("self/task/{}/{file}", seat.host_tid));
        text.map_or_else(|| "?".to_string(), |text| text.trim().to_string())
    };
    let status = host("status");
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).map_or("?", str::trim);
    // The last two are its stack and instruction pointer.
    let host_call = host("syscall").split(' ').take(7).collect::<Vec<_>>().join(" ");
    observe::error!(
        "watchdog: task {number} ({}) is stuck {call} for {} s; its host thread {} ({}) is in state {state}, wait channel {}, host call {host_call}",
        String::from_utf8_lossy(&name),
        age.as_secs(),
        seat.host_tid,
        host("comm"),
        host("wchan"),
    );
}

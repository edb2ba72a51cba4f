//! Knobs of an IPC namespace: fs/mqueue/*, kernel/{shm*,msg*,sem}. mq_overview(7), proc_sys_kernel(5), ipc_namespaces(7).
//!
//! They are those of the caller's namespace; a container's are set by name before its first program starts (`linux.sysctl`). Owns no locks.

use super::{Put, caller, words};
use crate::pseudo::{Knob, Node};
use abi::Errno;
use kernel::ipc::mqueue::{MSG_MAX, MSGSIZE_MAX, MqNs};
use kernel::ipc::sysv::SysV;
use kernel::ipc::sysv::limits::{COUNT, MESSAGE_BYTES, OBJECTS};
use kernel::task::IpcNs;
use kernel::{Io, Op, fail};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Where the numbers of a knob are, and what they may be.
#[derive(Clone, Copy)]
enum Numbers {
    Queues(fn(&MqNs) -> &AtomicU32, &'static Range),
    One(fn(&SysV) -> &AtomicU64, &'static Range),
    /// kernel/sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem,
    /// kernel/shm_rmid_forced.
    Forced,
}

type Range = RangeInclusive<u64>;

const ANY: Range = 0..=u64::MAX;
const MESSAGES: Range = *MSG_MAX.start() as u64..=*MSG_MAX.end() as u64;
const SIZES: Range = *MSGSIZE_MAX.start() as u64..=*MSGSIZE_MAX.end() as u64;

const KNOBS: [(&str, Numbers); 13] = [
    ("fs/mqueue/queues_max", Numbers::Queues(|ns| &ns.queues_max, &COUNT)),
    ("fs/mqueue/msg_max", Numbers::Queues(|ns| &ns.msg_max, &MESSAGES)),
    ("fs/mqueue/msgsize_max", Numbers::Queues(|ns| &ns.msgsize_max, &SIZES)),
    ("fs/mqueue/msg_default", Numbers::Queues(|ns| &ns.msg_default, &MESSAGES)),
    ("fs/mqueue/msgsize_default", Numbers::Queues(|ns| &ns.msgsize_default, &SIZES)),
    ("kernel/shmmax", Numbers::One(|ns| &ns.limits.shmmax, &ANY)),
    ("kernel/shmall", Numbers::One(|ns| &ns.shm.room, &ANY)),
    ("kernel/shmmni", Numbers::One(|ns| &ns.shm.max, &OBJECTS)),
    ("kernel/msgmax", Numbers::One(|ns| &ns.limits.msgmax, &MESSAGE_BYTES)),
    ("kernel/msgmnb", Numbers::One(|ns| &ns.limits.msgmnb, &MESSAGE_BYTES)),
    ("kernel/msgmni", Numbers::One(|ns| &ns.msg.max, &OBJECTS)),
    ("kernel/sem", Numbers::Sem),
    ("kernel/shm_rmid_forced", Numbers::Forced),
];

pub fn add(sys: Put<'_>) {
    for (path, numbers) in KNOBS {
        let ns = |io: &Io<'_>| -> Op<Arc<IpcNs>> { Ok(caller(io)?.namespaces().ipc) };
        let get = move |io: &mut Io<'_>| numbers.show(&*ns(io)?);
        let set = move |io: &mut Io<'_>, data: &[u8]| numbers.set(&*ns(io)?, data);
        sys(path, Node::file(0o644, Knob { get, set }));
    }
}

/// Sets one. ENOENT: it is none of these; EINVAL.
pub fn set(ns: &IpcNs, path: &str, value: &str) -> Op<()> {
    let (_, numbers) = KNOBS.into_iter().find(|(known, _)| *known == path).ok_or(Errno::ENOENT)?;
    numbers.set(ns, value.as_bytes())
}

impl Numbers {
    fn show(self, ns: &IpcNs) -> Op<Vec<u8>> {
        let of = |limit: &AtomicU64| limit.load(Ordering::Relaxed);
        let sysv = SysV::of(ns);
        let text = match self {
            Numbers::Queues(limit, _) => limit(&*MqNs::of(ns)?).load(Ordering::Relaxed).to_string(),
            Numbers::One(limit, _) => of(limit(&sysv)).to_string(),
            Numbers::Forced => of(&sysv.limits.shm_rmid_forced).to_string(),
            Numbers::Sem => sem(&sysv).map(|limit| of(limit).to_string()).join("\t"),
        };
        Ok((text + "\n").into())
    }

    fn set(self, ns: &IpcNs, data: &[u8]) -> Op<()> {
        let number = |word| std::str::from_utf8(word).ok()?.parse().ok();
        let numbers = words(data).map(number).collect::<Option<Vec<u64>>>().ok_or(Errno::EINVAL)?;
        let within = |range: &Range| match *numbers {
            [number] if range.contains(&number) => Ok(number),
            _ => Err(Errno::EINVAL),
        };
        let sysv = SysV::of(ns);
        match self {
            Numbers::Queues(limit, range) => {
                limit(&*MqNs::of(ns)?).store(within(range)? as u32, Ordering::Relaxed);
            }
            Numbers::One(limit, range) => limit(&sysv).store(within(range)?, Ordering::Relaxed),
            Numbers::Forced => {
                let forced = within(&(0..=1))?;
                sysv.limits.shm_rmid_forced.store(forced, Ordering::Relaxed);
                if forced == 1 {
                    sysv.remove_orphans();
                }
            }
            Numbers::Sem => {
                // As many as are given, from the first on.
                let bounds = [OBJECTS, COUNT, OBJECTS, OBJECTS];
                let too_many = numbers.is_empty() || numbers.len() > bounds.len();
                if too_many || numbers.iter().zip(&bounds).any(|(number, range)| !range.contains(number)) {
                    return fail(Errno::EINVAL);
                }
                sem(&sysv).into_iter().zip(numbers).for_each(|(limit, number)| limit.store(number, Ordering::Relaxed));
            }
        }
        Ok(())
    }
}

fn sem(sysv: &SysV) -> [&AtomicU64; 4] {
    [&sysv.limits.semmsl, &sysv.sem.room, &sysv.limits.semopm, &sysv.sem.max]
}

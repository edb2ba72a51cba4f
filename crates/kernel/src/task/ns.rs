//! Namespaces of a task, namespaces(7). User namespaces are in `cred`, mount namespaces in `vfs`, PID namespaces in `pid`.

use super::{CgroupNs, Loopback, PidNs, Task};
use crate::cred::UserNs;
use crate::io::{Caller, Io};
use crate::locks::Leaf;
use crate::vfs::MountNs;
use lock::Mutex;
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Host and domain name, uts_namespaces(7).
pub struct UtsNs {
    pub id: u64,
    pub owner: Arc<UserNs>,
    pub names: Mutex<(Vec<u8>, Vec<u8>), Leaf>,
}

impl UtsNs {
    pub fn new(owner: Arc<UserNs>, host: &[u8], domain: &[u8]) -> Arc<UtsNs> {
        Arc::new(UtsNs { id: crate::unique_id(), owner, names: Mutex::new((host.to_vec(), domain.to_vec())) })
    }
    pub fn copy(&self, owner: Arc<UserNs>) -> Arc<UtsNs> {
        let (host, domain) = self.names.lock().clone();
        Self::new(owner, &host, &domain)
    }
}

/// System V objects and message queues, ipc_namespaces(7).
pub struct IpcNs {
    pub id: u64,
    pub owner: Arc<UserNs>,
    /// What the IPC modules keep here, made when first used.
    pub sysv: OnceLock<Arc<dyn Any + Send + Sync>>,
    pub mqueue: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl IpcNs {
    pub fn new(owner: Arc<UserNs>) -> Arc<IpcNs> {
        Arc::new(IpcNs { id: crate::unique_id(), owner, sysv: OnceLock::new(), mqueue: OnceLock::new() })
    }
}

/// What /proc/sys/net/ipv4 says who may do: kept for those who set it (engines do for each container), as there are no such sockets yet.
#[derive(Clone, Copy)]
pub struct InetKnobs {
    /// The groups that may open ICMP sockets, first and last: none. icmp(7)
    pub ping_group_range: [u32; 2],
    /// The first port that anybody may bind. ip(7)
    pub unprivileged_port_start: u16,
}

impl Default for InetKnobs {
    fn default() -> InetKnobs {
        InetKnobs { ping_group_range: [1, 0], unprivileged_port_start: 1024 }
    }
}

/// Network objects: the loopback device, abstract unix names, netlink sockets. network_namespaces(7).
pub struct NetNs {
    pub id: u64,
    pub owner: Arc<UserNs>,
    pub loopback: Mutex<Loopback, Leaf>,
    pub inet: Mutex<InetKnobs, Leaf>,
    /// `network`'s own state, made when first used.
    pub state: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl NetNs {
    pub fn new(owner: Arc<UserNs>) -> Arc<NetNs> {
        let (loopback, inet) = (Mutex::default(), Mutex::default());
        Arc::new(NetNs { id: crate::unique_id(), owner, loopback, inet, state: OnceLock::new() })
    }
}

/// The namespaces that a task is in.
#[derive(Clone)]
pub struct Namespaces {
    pub mount: Arc<MountNs>,
    pub uts: Arc<UtsNs>,
    pub ipc: Arc<IpcNs>,
    pub net: Arc<NetNs>,
    pub cgroup: Arc<CgroupNs>,
    /// The one that its children will be in; its own is `Task::pid`'s.
    pub pid_for_children: Arc<PidNs>,
}

impl Namespaces {
    /// Those of the calling task, or of the container whose mounts are being made. None for the kernel's own work.
    pub fn of(io: &Io<'_>) -> Option<Namespaces> {
        match io.caller.clone()?.as_any().downcast::<Task>() {
            Ok(task) => Some(task.namespaces()),
            Err(other) => other.downcast_ref::<Namespaces>().cloned(),
        }
    }
}

/// Mounts of a container are made before it has a task.
impl Caller for Namespaces {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

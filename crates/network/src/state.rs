//! What this crate keeps for a network namespace, made when first used: abstract unix names, netlink sockets. network_namespaces(7).

use crate::netlink::Ports;
use crate::unix::Names;
use abi::Errno;
use kernel::Op;
use kernel::io::Io;
use kernel::task::{NetNs, Task};
use std::any::Any;
use std::sync::Arc;

#[derive(Default)]
pub struct State {
    pub names: Arc<Names>,
    pub ports: Ports,
}

impl State {
    pub fn of(net: &NetNs) -> Op<Arc<State>> {
        let any: Arc<dyn Any + Send + Sync> = net.state.get_or_init(|| Arc::new(State::default())).clone();
        any.downcast().map_err(|_| Errno::EAFNOSUPPORT.into())
    }
}

/// The caller's network namespace.
pub fn net(io: &Io<'_>) -> Op<Arc<NetNs>> {
    Ok(Task::of(io).ok_or(Errno::EAFNOSUPPORT)?.namespaces().net)
}

//! `stockade sandbox`, `stockade gofer` and `stockade container`: the other side of `launch`, entered before the command line is looked at.
//!
//! Owns no locks.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use host::spawn::inherited;
use sandbox::Donated;
use sandbox::client::Client;
use sandbox::machine::{Boot, INIT};

use crate::foreground::{self, Foreground};
use crate::launch::GoferConfig;

/// Runs the kernel process; its exit status.
pub fn sandbox(boot: Boot) -> u8 {
    let (Some(control), Some(listener)) = (inherited(3), inherited(4)) else { return misuse("sandbox") };
    let listens = host::rustix::net::sockopt::socket_acceptconn(&listener).unwrap_or(false);
    sandbox::run(Donated { control, listener: listens.then_some(listener) }, boot)
}

/// Runs the gofer; its exit status.
pub fn gofer() -> u8 {
    let (Some(socket), Some(config), Some(report)) = (inherited(3), inherited(4), inherited(5)) else {
        return misuse("gofer");
    };
    let mut report = File::from(report);
    // Who finds the connection closed kills this process: it stays open until the words are written.
    let held = socket.try_clone();
    let status = match serve(socket, config) {
        Ok(()) => 0,
        Err(text) => {
            let _ = writeln!(report, "{text}");
            1
        }
    };
    drop(held);
    status
}

/// Stands for a container of a pod on the host; its exit status, which is that of the container's first program.
pub fn container() -> u8 {
    let (Some(socket), Some(id)) = (inherited(3), std::env::args().nth(2)) else { return misuse("container") };
    let client = Client::new(socket);
    let waited = foreground::watch().and_then(|signals| {
        let terminal = File::open("/dev/tty").ok();
        let mut wait = Foreground::new(&client, &id, INIT, signals);
        wait.sizes = terminal.as_ref().map(AsFd::as_fd);
        wait.run()
    });
    // The sandbox was killed, and the program with it.
    waited.unwrap_or(128 + 9)
}

fn serve(socket: OwnedFd, config: OwnedFd) -> Result<(), String> {
    let mut text = Vec::new();
    File::from(config).read_to_end(&mut text).map_err(|e| format!("the gofer cannot read its configuration: {e}"))?;
    let config: GoferConfig =
        serde_json::from_slice(&text).map_err(|e| format!("the gofer cannot read its configuration: {e}"))?;
    gofer::run(gofer::Config {
        socket,
        mounts: config.sources,
        donate: config.donate,
        peers: config.peers,
        report_violations: config.debug,
    })
    .map_err(|e| e.to_string())
}

fn misuse(what: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "stockade: `stockade {what}` is started by stockade itself, never by hand");
    1
}

//! A further container of a pod: made in a sandbox that is there, with a gofer of its own.
//!
//! Neighbours: `pod` (says which sandbox), `internal` (the process that stands for the container). Owns no locks.

use std::io::Read;
use std::os::fd::AsFd;

use anyhow::{Result, anyhow};
use host::signals::ended;
use host::spawn::{IdMap, Namespaces, Spawn};
use sandbox::client::Io;

use super::{Descriptors, Gofer, Launch, Sandbox, arguments, environment, null, wait_readable};
use crate::oom::{self, Lowered};
use crate::state::Folder;

impl Launch<'_> {
    /// Makes the container in a sandbox that is there. A process of its own stands for it on the host: it lives as long as the container's first program, ends with its status, and
    /// the container ends with it.
    pub(super) fn join(self, folder: &Folder, io: &Io<'_>) -> Result<Sandbox> {
        let _lifted = Descriptors::lift();
        let _lowered = Lowered::to(oom::of(&folder.read_whole()?.pid.to_string()));
        let null = null()?;
        let connection = folder.connect()?;
        let Gofer { process: gofer, connection: files, mut report } = self.gofer(&null)?;
        let cgroups: Vec<_> = self.cgroups.iter().map(AsFd::as_fd).collect();
        let made = connection.create(self.spec.clone(), io, files.as_fd(), &cgroups);
        drop(files);
        let standing = made.map_err(anyhow::Error::from).and_then(|()| {
            Ok(Spawn {
                args: arguments(&["stockade", "container", &self.spec.id]),
                env: environment(false),
                namespaces: Namespaces::default(),
                ids: IdMap::None,
                fds: vec![null.as_fd(), null.as_fd(), self.log, connection.as_fd()],
                session: true,
                terminal: self.terminal,
                die_with_parent: self.boot.foreground,
                fixed_addresses: false,
                cgroups,
            }
            .start()?)
        });
        match standing {
            Ok(kernel) => Ok(Sandbox { client: folder.connect()?, kernel, gofer, report, joined: true }),
            Err(e) => {
                gofer.kill();
                let mut words = String::new();
                let _ = (&mut report).take(4096).read_to_string(&mut words);
                wait_readable(&gofer.pidfd);
                let _ = ended(&gofer.pidfd);
                if words.is_empty() { Err(e) } else { Err(anyhow!("{}", words.trim())) }
            }
        }
    }
}

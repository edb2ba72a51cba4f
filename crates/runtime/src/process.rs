//! The `process` of config.json, which `exec --process` shares: checked and turned into what the kernel takes.
//!
//! Neighbour: `config`. Owns no locks.

use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use oci_spec::runtime::{Capability, PosixRlimitType, Process};
use sandbox::spec::{Capabilities, ProcessSpec, Rlimit, User};
use serde_json::Value;

/// Takes out of `process` what newer engines may write and the parser would refuse: capabilities that it does not know.
pub fn forgive(process: &mut Value, warnings: &mut Vec<String>) {
    let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) else { return };
    for list in sets.values_mut().filter_map(Value::as_array_mut) {
        list.retain(|name| {
            let known = name.as_str().is_none_or(|name| capability(name).is_some());
            if !known {
                warnings.push(format!("process.capabilities: {name} is unknown and ignored"));
            }
            known
        });
    }
}

pub fn parse(value: Value) -> Result<Process> {
    serde_path_to_error::deserialize(value).map_err(|e| anyhow!("field process.{}: {}", e.path(), e.inner()))
}

pub fn convert(process: &Process) -> Result<ProcessSpec> {
    let args: Vec<Vec<u8>> = process.args().iter().flatten().map(|a| a.clone().into_bytes()).collect();
    if args.is_empty() {
        bail!("field process.args: args must not be empty; the first is the program");
    }
    let cwd = process.cwd().to_string_lossy().into_owned();
    if !cwd.starts_with('/') {
        bail!("field process.cwd: Cwd must be an absolute path, not {cwd:?}");
    }
    for (field, strings) in [("args", process.args()), ("env", process.env())] {
        if strings.iter().flatten().any(|s| s.contains('\0')) {
            bail!("field process.{field}: a string holds a NUL byte");
        }
    }
    let user = process.user();
    for (field, id) in [("uid", user.uid()), ("gid", user.gid())] {
        // 4294967295 means "no change" to Linux; runc stops at 2147483647.
        if id > i32::MAX as u32 {
            bail!("field process.user.{field}: uids and gids must be in range 0-2147483647, not {id}");
        }
    }
    if let Some(name) = user.username().as_ref().filter(|n| !n.is_empty()) {
        bail!("field process.user.username: {name:?} is for Windows; give uid and gid");
    }
    let adjust = process.oom_score_adj();
    if adjust.is_some_and(|n| !(-1000..=1000).contains(&n)) {
        bail!("field process.oomScoreAdj: must be in range -1000 to 1000");
    }
    Ok(ProcessSpec {
        args,
        env: process.env().iter().flatten().map(|e| e.clone().into_bytes()).collect(),
        cwd: cwd.into_bytes(),
        user: User {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask(),
        },
        capabilities: capabilities(process),
        rlimits: process.rlimits().iter().flatten().map(rlimit).collect::<Result<_>>()?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: adjust,
        terminal: process.terminal().unwrap_or(false),
        console_size: process
            .console_size()
            .as_ref()
            .map(|b| (b.height().min(65_535) as u16, b.width().min(65_535) as u16)),
    })
}

/// "UID" or "UID:GID", as `exec --user` takes it.
pub fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let number = |part: &str| {
        part.parse::<u32>().ok().filter(|n| *n <= i32::MAX as u32).ok_or_else(|| {
            anyhow!("unknown user {text:?}: give numbers, UID or UID:GID (names are known only inside the container)")
        })
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

/// The number of a capability by its name, with or without `CAP_`.
pub fn capability(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Capability::from_str(short).ok().and_then(number)
}

/// All 41 capabilities of Linux 5.9 and later.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

fn capabilities(process: &Process) -> Capabilities {
    let Some(sets) = process.capabilities() else { return Capabilities::default() };
    let bits = |set: &Option<oci_spec::runtime::Capabilities>| {
        set.iter().flatten().filter_map(|c| number(*c)).fold(0u64, |bits, n| bits | 1 << n)
    };
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted: bits(sets.permitted()),
        inheritable: bits(sets.inheritable()),
        ambient: bits(sets.ambient()),
    }
}

fn rlimit(limit: &oci_spec::runtime::PosixRlimit) -> Result<Rlimit> {
    if limit.soft() > limit.hard() {
        bail!(
            "field process.rlimits: {}: soft limit {} is above the hard limit {}",
            limit.typ(),
            limit.soft(),
            limit.hard()
        );
    }
    Ok(Rlimit { resource: resource(limit.typ()), soft: limit.soft(), hard: limit.hard() })
}

/// RLIMIT_* numbers of x86-64 and arm64 Linux.
fn resource(kind: PosixRlimitType) -> u32 {
    use PosixRlimitType as T;
    match kind {
        T::RlimitCpu => 0,
        T::RlimitFsize => 1,
        T::RlimitData => 2,
        T::RlimitStack => 3,
        T::RlimitCore => 4,
        T::RlimitRss => 5,
        T::RlimitNproc => 6,
        T::RlimitNofile => 7,
        T::RlimitMemlock => 8,
        T::RlimitAs => 9,
        T::RlimitLocks => 10,
        T::RlimitSigpending => 11,
        T::RlimitMsgqueue => 12,
        T::RlimitNice => 13,
        T::RlimitRtprio => 14,
        T::RlimitRttime => 15,
    }
}

fn number(capability: Capability) -> Option<u32> {
    CAPABILITIES.iter().position(|c| *c == capability).map(|n| n as u32)
}

/// In the order of their numbers in capability.h.
pub const CAPABILITIES: [Capability; 41] = {
    use Capability as C;
    [
        C::Chown,
        C::DacOverride,
        C::DacReadSearch,
        C::Fowner,
        C::Fsetid,
        C::Kill,
        C::Setgid,
        C::Setuid,
        C::Setpcap,
        C::LinuxImmutable,
        C::NetBindService,
        C::NetBroadcast,
        C::NetAdmin,
        C::NetRaw,
        C::IpcLock,
        C::IpcOwner,
        C::SysModule,
        C::SysRawio,
        C::SysChroot,
        C::SysPtrace,
        C::SysPacct,
        C::SysAdmin,
        C::SysBoot,
        C::SysNice,
        C::SysResource,
        C::SysTime,
        C::SysTtyConfig,
        C::Mknod,
        C::Lease,
        C::AuditWrite,
        C::AuditControl,
        C::Setfcap,
        C::MacOverride,
        C::MacAdmin,
        C::Syslog,
        C::WakeAlarm,
        C::BlockSuspend,
        C::AuditRead,
        C::Perfmon,
        C::Bpf,
        C::CheckpointRestore,
    ]
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_their_numbers() {
        for (name, n) in [
            ("CAP_CHOWN", 0),
            ("CAP_KILL", 5),
            ("CAP_NET_RAW", 13),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_AUDIT_WRITE", 29),
            ("CAP_CHECKPOINT_RESTORE", 40),
            ("mknod", 27),
        ] {
            assert_eq!(capability(name), Some(n), "{name}");
        }
        assert_eq!(capability("CAP_NOPE"), None);
    }

    #[test]
    fn users_are_numbers() {
        assert_eq!(user("5").unwrap(), (5, None));
        assert_eq!(user("5:6").unwrap(), (5, Some(6)));
        assert!(user("daemon").is_err());
        assert!(user("4000000000").is_err());
    }
}

//! `features` and `syscalls`: what this runtime offers, and what the host lacks for it. Owns no locks.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Features, Format, Syscalls};
use crate::commands::spec::OCI_VERSION;
use crate::commands::{Context, print};
use crate::probe;
use crate::process::CAPABILITIES;

pub fn run(context: &Context, args: Features) -> Result<u8> {
    let missing = missing(context)?;
    if args.host || context.global.verbose {
        let text = if missing.is_empty() {
            "nothing is missing on this host\n".to_string()
        } else {
            missing.join("\n") + "\n"
        };
        if args.host {
            return print(&text);
        }
        eprint!("{text}");
    }
    let value = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "poststart", "poststop"],
        "mountOptions": [
            "atime", "async", "bind", "defaults", "dev", "diratime", "exec", "noatime", "nodev", "nodiratime", "noexec", "norelatime", "nostrictatime",
            "nosuid", "private", "rbind", "relatime", "ro", "rprivate", "rshared", "rslave", "rw", "shared", "slave", "strictatime", "suid",
        ],
        "linux": {
            "namespaces": ["ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": CAPABILITIES.iter().map(|c| format!("CAP_{c}")).collect::<Vec<_>>(),
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false },
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
                "archs": ["SCMP_ARCH_X86_64"],
                "knownFlags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
                "supportedFlags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
            },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } },
            "netDevices": { "enabled": false },
        },
        "annotations": {
            "dev.stockade.version": env!("CARGO_PKG_VERSION"),
            "dev.stockade.host.missing": missing.join("; "),
        },
        "potentiallyUnsafeConfigAnnotations": ["dev.stockade."],
    });
    print(&(serde_json::to_string_pretty(&value)? + "\n"))
}

/// What the host lacks, one line each: what, and what it costs.
pub fn missing(context: &Context) -> Result<Vec<String>> {
    let all = probe::run(&context.global.platform)?;
    Ok(all.into_iter().filter(|p| !p.present).map(|p| format!("{}: {}", p.what, p.without)).collect())
}

/// From the one table of system calls.
pub fn syscalls(args: Syscalls) -> Result<u8> {
    let rows = sandbox::syscall_table();
    match args.format {
        Format::Json => {
            let list: Vec<_> = rows
                .map(|r| json!({ "number": r.number, "name": r.name, "support": r.support, "note": r.note }))
                .collect();
            print(&(serde_json::to_string_pretty(&list)? + "\n"))
        }
        Format::Table => {
            let mut text = String::new();
            for row in rows {
                text.push_str(
                    format!("{:>4} {:<24} {:<10} {}", row.number, row.name, row.support, row.note).trim_end(),
                );
                text.push('\n');
            }
            print(&text)
        }
    }
}

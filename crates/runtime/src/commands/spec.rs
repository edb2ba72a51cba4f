//! `spec`: writes a config.json to start from, like runc's. Owns no locks.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::Spec;

pub fn run(args: Spec) -> Result<u8> {
    let path = args.bundle.join("config.json");
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => bail!("File config.json exists. Remove it first"),
        other => other.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let value = example(args.rootless, &args.command);
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(&value, &mut writer)?;
    file.write_all(&text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(0)
}

fn example(rootless: bool, command: &[String]) -> Value {
    let args = if command.is_empty() { vec!["sh".to_string()] } else { command.to_vec() };
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut value = json!({ "destination": destination, "type": kind, "source": source });
        if let Some(object) = value.as_object_mut().filter(|_| !options.is_empty()) {
            object.insert("options".into(), json!(options));
        }
        value
    };
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !rootless {
        pts.push("gid=5");
    }
    let mut namespaces: Vec<&str> = vec!["pid", "network", "ipc", "uts", "mount"];
    let mut linux = serde_json::Map::new();
    if rootless {
        namespaces = vec!["pid", "ipc", "uts", "mount", "user"];
        let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        linux.insert("uidMappings".into(), map(host::rustix::process::geteuid().as_raw()));
        linux.insert("gidMappings".into(), map(host::rustix::process::getegid().as_raw()));
    } else {
        linux.insert("resources".into(), json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    }
    linux.insert("namespaces".into(), namespaces.iter().map(|n| json!({ "type": n })).collect());
    linux.insert(
        "maskedPaths".into(),
        json!([
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi"
        ]),
    );
    linux.insert(
        "readonlyPaths".into(),
        json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
    );
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps, "ambient": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "stockade",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &pts),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": linux,
    })
}

/// The version of the runtime-spec that `spec` writes and `features` names as the newest.
pub const OCI_VERSION: &str = "1.2.1";

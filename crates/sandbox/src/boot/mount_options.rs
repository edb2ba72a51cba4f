//! Options of config.json's mounts: mount flags, propagation, and what goes to the file system (section 8 of the specification; mount(8)).

use crate::machine::{Failure, Kind};
use crate::spec::Mount;
use abi::fs as flags;
use kernel::vfs::Propagation;

/// What a mount's options say.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// MS_*.
    pub flags: u32,
    /// The file system's own, as mount(2) takes them.
    pub data: String,
    /// With whether it is meant for what is mounted below as well.
    pub propagation: Option<(Propagation, bool)>,
    /// `tmpcopyup`: a tmpfs begins with a copy of what it covers.
    pub copies: bool,
}

/// Flags that are set, or taken away, by name. Recursive ones (`rro`) are the same here: what is bound comes without what is mounted below it in the sandbox.
const FLAGS: &[(&str, u32, bool)] = &[
    ("ro", flags::MS_RDONLY, true),
    ("rw", flags::MS_RDONLY, false),
    ("nosuid", flags::MS_NOSUID, true),
    ("suid", flags::MS_NOSUID, false),
    ("nodev", flags::MS_NODEV, true),
    ("dev", flags::MS_NODEV, false),
    ("noexec", flags::MS_NOEXEC, true),
    ("exec", flags::MS_NOEXEC, false),
    ("noatime", flags::MS_NOATIME, true),
    ("atime", flags::MS_NOATIME, false),
    ("nodiratime", flags::MS_NODIRATIME, true),
    ("diratime", flags::MS_NODIRATIME, false),
    ("relatime", flags::MS_RELATIME, true),
    ("norelatime", flags::MS_RELATIME, false),
    ("strictatime", flags::MS_STRICTATIME, true),
    ("nostrictatime", flags::MS_STRICTATIME, false),
    ("nosymfollow", flags::MS_NOSYMFOLLOW, true),
    ("symfollow", flags::MS_NOSYMFOLLOW, false),
];

/// Taken without effect: defaults, and what concerns a host's disk.
const NOTHING: &[&str] = &[
    "bind",
    "rbind",
    "defaults",
    "sync",
    "async",
    "dirsync",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
    "remount",
    "acl",
    "noacl",
];

/// Reads one mount's options. What is not known is skipped with a warning.
pub fn read(spec: &Mount) -> Result<Options, Failure> {
    let mut made = Options { flags: 0, data: String::new(), propagation: None, copies: false };
    let mut data: Vec<&str> = Vec::new();
    for option in &spec.options {
        let option = option.as_str();
        let plain =
            option.strip_prefix('r').filter(|rest| FLAGS.iter().any(|(name, ..)| name == rest)).unwrap_or(option);
        if let Some((_, bit, set)) = FLAGS.iter().find(|(name, ..)| *name == plain || *name == option) {
            if *set { made.flags |= bit } else { made.flags &= !bit }
        } else if let Some(how) = propagation(option) {
            made.propagation = Some(how);
        } else if option == "tmpcopyup" {
            made.copies = true;
        } else if NOTHING.contains(&option) {
        } else if option.matches('=').count() > 1 || option.starts_with('=') {
            return Err(refused(spec, option, "is neither a word nor key=value"));
        } else if matches!(option.split('=').next(), Some("idmap" | "ridmap")) {
            return Err(refused(spec, option, "mounts with ids of their own are not supported; leave it out"));
        } else if passes(&spec.kind, option) {
            data.push(option);
        } else if !silent(&spec.kind, option) {
            observe::warn!("mount {}: option {option} is not known; skipped", spec.destination);
        }
    }
    made.data = data.join(",");
    Ok(made)
}

fn refused(spec: &Mount, option: &str, why: &str) -> Failure {
    Failure::new(Kind::Invalid, format!("mount {}: invalid option {option:?}: {why}", spec.destination))
}

fn propagation(option: &str) -> Option<(Propagation, bool)> {
    Some(match option {
        "private" => (Propagation::Private, false),
        "rprivate" => (Propagation::Private, true),
        "slave" => (Propagation::Slave, false),
        "rslave" => (Propagation::Slave, true),
        "shared" => (Propagation::Shared, false),
        "rshared" => (Propagation::Shared, true),
        "unbindable" => (Propagation::Unbindable, false),
        "runbindable" => (Propagation::Unbindable, true),
        _ => return None,
    })
}

/// Whether the file system itself is to see an option.
fn passes(kind: &str, option: &str) -> bool {
    let key = option.split('=').next().unwrap_or_default();
    match kind {
        "tmpfs" => matches!(key, "mode" | "size" | "uid" | "gid" | "nr_inodes" | "nr_blocks"),
        "devpts" => matches!(key, "newinstance" | "ptmxmode" | "mode" | "gid" | "max"),
        _ => false,
    }
}

/// What engines write for the tmpfs that /dev is elsewhere.
fn silent(kind: &str, option: &str) -> bool {
    kind == "devtmpfs" && matches!(option.split('=').next(), Some("mode" | "size"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[&str]) -> Result<Options, Failure> {
        let options = options.iter().map(|o| o.to_string()).collect();
        read(&Mount { destination: "/at".into(), kind: kind.into(), options, ..Mount::default() })
    }

    #[test]
    fn flags_data_and_propagation_are_told_apart() {
        let made =
            of("tmpfs", &["nosuid", "ro", "rw", "rnoexec", "rslave", "size=64m", "mode=1777", "tmpcopyup", "what"])
                .unwrap();
        assert_eq!(made.flags, flags::MS_NOSUID | flags::MS_NOEXEC);
        assert_eq!((&*made.data, made.copies), ("size=64m,mode=1777", true));
        assert_eq!(made.propagation, Some((Propagation::Slave, true)));
        assert_eq!(
            of("bind", &["rbind", "rro", "size=1"]).unwrap(),
            Options { flags: flags::MS_RDONLY, data: String::new(), propagation: None, copies: false }
        );
        assert_eq!(of("bind", &["relatime"]).unwrap().flags, flags::MS_RELATIME);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (option, word) in
            [("a=b=c", "neither"), ("=x", "neither"), ("idmap", "not supported"), ("ridmap=uids=1", "neither")]
        {
            let text = of("bind", &[option]).unwrap_err().to_string();
            assert!(text.contains("/at") && text.contains(option) && text.contains(word), "{text}");
        }
    }
}

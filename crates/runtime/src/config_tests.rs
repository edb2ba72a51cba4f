//! config.json as nobody would write it: those of engines with parts put in the place of others, taken away, made of another type or very large, and
//! damaged text. It is read, or refused by an error that names the file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use clap::Parser;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;
use std::sync::OnceLock;

/// A bundle of this process', whose mounts have sources.
fn bundle() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("stockade-config-{}", std::process::id()));
        fs::create_dir_all(path.join("rootfs")).unwrap();
        path
    })
}

/// What engines write.
fn seeds() -> Vec<Value> {
    let texts = [
        include_str!("../tests/bundles/docker.json"),
        include_str!("../tests/bundles/kubernetes.json"),
        include_str!("../tests/bundles/podman.json"),
    ];
    let mut seeds: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    for seed in &mut seeds {
        seed["ociVersion"] = "1.0.2".into();
        seed["process"] = json!({
            "user": { "uid": 0, "gid": 0, "additionalGids": [1] }, "args": ["true", "x"], "cwd": "/", "env": ["PATH=/bin"],
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 20 }],
            "capabilities": { "bounding": ["CAP_CHOWN"] }, "oomScoreAdj": 5,
        });
        for mount in seed["mounts"].as_array_mut().unwrap() {
            if mount["source"].as_str().is_some_and(|source| source.starts_with('@')) {
                mount["source"] = "rootfs".into();
            }
        }
        seed["annotations"]["dev.gvisor.spec.mount.data.type"] = "tmpfs".into();
        seed["annotations"]["dev.gvisor.spec.mount.data.share"] = "pod".into();
        seed["annotations"]["dev.gvisor.spec.mount.data.source"] = "/data".into();
    }
    seeds
}

fn odd() -> impl Strategy<Value = Value> {
    let values = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("/"),
        json!("..\n/../x\u{0}"),
        json!("/\u{1b}[2J\u{9b}x\r\u{202e}"),
        json!("cri-o"),
        json!([]),
        json!({}),
        json!([[], {}, null, 7]),
        json!({"type": "bind", "source": "rootfs", "destination": "/x", "options": ["=", "a=b=c", "idmap"]}),
    ];
    prop_oneof![
        8 => select(values),
        1 => ".{0,40}".prop_map(Value::String),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => (5000..70_000usize).prop_map(|len| Value::String("x".repeat(len))),
    ]
}

/// All places of a tree, by their pointers.
fn places(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(n, v)| places(v, format!("{at}/{n}"), into)),
        Value::Object(map) => map
            .iter()
            .for_each(|(key, v)| places(v, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into)),
        _ => {}
    }
    into.push(at);
}

#[derive(Clone, Debug)]
enum Change {
    Put(Index, Value),
    /// What is at one place to another.
    Copy(Index, Index),
    Remove(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), odd()).prop_map(|(at, value)| Change::Put(at, value)),
        2 => (at(), at()).prop_map(|(from, to)| Change::Copy(from, to)),
        2 => at().prop_map(Change::Remove),
    ]
}

fn apply(value: &mut Value, change: Change) {
    let mut all = Vec::new();
    places(value, String::new(), &mut all);
    let put = |value: &mut Value, at: &str, what: Value| *value.pointer_mut(at).unwrap() = what;
    match change {
        Change::Put(at, what) => put(value, all[at.index(all.len())].as_str(), what),
        Change::Copy(from, to) => {
            let what = value.pointer(all[from.index(all.len())].as_str()).unwrap().clone();
            put(value, all[to.index(all.len())].as_str(), what);
        }
        Change::Remove(at) => {
            let Some((parent, key)) = all[at.index(all.len())].as_str().rsplit_once('/') else { return };
            match value.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                _ => {}
            }
        }
    }
}

fn read(text: &[u8]) -> Result<Bundle> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock();
    fs::write(bundle().join("config.json"), text).unwrap();
    let global = crate::cli::Cli::parse_from(["stockade", "list"]).global;
    load(bundle(), "x", &global, &StateRoot::new(Some(&bundle().join("states"))).unwrap())
}

fn check(read: Result<Bundle>) -> Result<(), TestCaseError> {
    match read {
        Ok(made) => {
            let ids: Vec<_> = made.sources.iter().map(|source| &source.id).collect();
            prop_assert!(fsproto::pair(&ids.iter().copied().cloned().collect::<Vec<_>>(), &ids).is_ok());
            prop_assert!(made.spec.mounts.iter().all(|mount| mount.destination.starts_with('/')));
            prop_assert!(!made.spec.process.args.is_empty());
        }
        Err(error) => {
            let text = format!("{error:#}");
            prop_assert!(text.contains("config.json"), "{text}");
            for line in crate::log::forms(&crate::error::line(&error)) {
                let inner = line.strip_suffix('\n').unwrap();
                prop_assert!(!inner.contains(|c: char| c.is_control() || c == '\u{202e}'), "not one line: {inner:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_seeds_are_good() {
    for seed in seeds() {
        read(seed.to_string().as_bytes()).map(drop).unwrap();
    }
}

proptest! {
    #[test]
    fn any_config_is_read_or_refused_by_name(seed in 0..3usize, changes in vec(change(), 1..6)) {
        let mut value = seeds().swap_remove(seed);
        for change in changes {
            apply(&mut value, change);
        }
        check(read(value.to_string().as_bytes()))?;
    }

    #[test]
    fn damaged_text_is_refused_by_name(seed in 0..3usize, damage in vec((any::<Index>(), any::<u8>()), 1..4), cut in any::<Option<Index>>()) {
        let mut text = seeds().swap_remove(seed).to_string().into_bytes();
        for (at, to) in damage {
            *at.get_mut(text.as_mut_slice()) = to;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        check(read(&text))?;
    }

    #[test]
    fn deeply_nested_text_is_refused(depth in 1..200_000usize, open in select(vec!["[", "{\"a\":"])) {
        check(read(open.repeat(depth).as_bytes()))?;
    }
}

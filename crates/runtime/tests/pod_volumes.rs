//! Mount hints: volumes that containers of a pod share (section 11 of the specification of the container's file system).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use common::pod::{cannot_join, end, member_with, only_the_first, pod_with};
use serde_json::{Value, json};

/// Annotations of a volume.
fn hint(config: &mut Value, prefix: &str, name: &str, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        config["annotations"][format!("dev.{prefix}.spec.mount.{name}.{field}")] = json!(value);
    }
}

/// Starts a container that mounts `source` on /data and runs a script.
fn run(place: &Place, id: &str, mount: (&str, &str, &[&str]), script: &str) -> common::Answer {
    let (kind, source, options) = mount;
    member_with(place, &["sh", "-c", script], |c| {
        let mount = json!({ "destination": "/data", "type": kind, "source": source, "options": options });
        c["mounts"].as_array_mut().unwrap().push(mount);
    });
    place.run(&["run", "-d", id])
}

fn sh(place: &Place, id: &str, script: &str) -> String {
    place.ok(&["exec", id, "sh", "-c", script])
}

/// One `debug --mounts` line of /data.
fn mounted(place: &Place, id: &str) -> Value {
    let all: Value = serde_json::from_str(&place.ok(&["debug", "--mounts", "-f", "json", id])).unwrap();
    all.as_array().unwrap().iter().find(|m| m["destination"] == "/data").unwrap().clone()
}

const BIND: &[&str] = &["rbind", "rprivate", "rw"];

#[test]
fn a_tmpfs_of_the_pod_is_one_for_all_its_containers() {
    let fields = [("source", "/no/such/data"), ("type", "tmpfs"), ("share", "pod"), ("options", "rw,size=1m,mode=700")];
    let place = pod_with(|_, c| hint(c, "gvisor", "data", &fields));
    for (id, kind, options) in [("one", "bind", BIND), ("two", "tmpfs", &["rw"]), ("ro", "bind", &["rbind", "ro"])] {
        let made = run(&place, id, (kind, "/no/such/data", options), "exec sleep 500");
        assert_eq!((made.status, made.err.as_str()), (0, ""), "{id}");
    }
    assert_eq!(sh(&place, "two", "ls /data"), "");
    sh(&place, "one", "echo hello > /data/f; chmod 640 /data/f");
    for id in ["two", "ro"] {
        assert_eq!(sh(&place, id, "cat /data/f; busybox stat -c %a /data /data/f"), "hello\n700\n640\n", "{id}");
    }
    assert_eq!(
        sh(&place, "ro", "echo x 2>&1 >> /data/f || echo refused"),
        "sh: can't create /data/f: Read-only file system\nrefused\n"
    );
    // Data options are the volume's.
    assert_eq!(
        sh(
            &place,
            "two",
            "busybox dd if=/dev/zero of=/data/big bs=64k 2>/dev/null || echo full; busybox du -k /data/big | head -c 4"
        ),
        "full\n1020"
    );
    let devices: Vec<String> = ["one", "two", "ro"].map(|id| sh(&place, id, "busybox stat -c %d:%i /data/f")).to_vec();
    assert!(devices.iter().all(|d| *d == devices[0]), "{devices:?}");
    // It outlives who filled it.
    for id in ["one", "two", "ro"] {
        place.ok(&["delete", "--force", id]);
    }
    only_the_first(&place);
    assert_eq!(run(&place, "one", ("bind", "/no/such/data", BIND), "exec sleep 500").err, "");
    assert_eq!(sh(&place, "one", "cat /data/f"), "hello\n");
    place.ok(&["delete", "--force", "one"]);
    end(&place);
}

/// Another container's files may be seen at once only if all share one cache: with exclusive access a name that was missed once stays missed.
#[test]
fn a_host_folder_of_the_pod_is_one_mount_with_exclusive_access() {
    let mut source = String::new();
    let place = pod_with(|place, c| {
        let folder = place.dir.join("volume");
        std::fs::create_dir(&folder).unwrap();
        source = folder.display().to_string();
        hint(c, "stockade", "data", &[("source", &source), ("type", "bind"), ("share", "pod")]);
    });
    for id in ["one", "two"] {
        assert_eq!(run(&place, id, ("bind", &source, BIND), "exec sleep 500").err, "");
    }
    for n in 0..10 {
        assert_eq!(sh(&place, "two", &format!("ls /data/f{n} 2>&1 | wc -l; ls /data | wc -l")), format!("1\n{n}\n"));
        sh(&place, "one", &format!("echo {n} > /data/f{n}"));
        assert_eq!(sh(&place, "two", &format!("cat /data/f{n}; ls /data | wc -l")), format!("{n}\n{}\n", n + 1));
        assert_eq!(std::fs::read_to_string(format!("{source}/f{n}")).unwrap(), format!("{n}\n"));
    }
    for id in ["one", "two"] {
        let mount = mounted(&place, id);
        assert_eq!(
            (&mount["host"]["path"], &mount["host"]["access"]),
            (&json!(source), &json!("exclusive")),
            "{mount}"
        );
    }
    // The end of one, and of its gofer, takes nothing from the other.
    place.ok(&["delete", "--force", "one"]);
    sh(&place, "two", "echo more > /data/more; cat /data/f3 /data/more");
    assert_eq!(std::fs::read_to_string(format!("{source}/more")).unwrap(), "more\n");
    place.ok(&["delete", "--force", "two"]);
    end(&place);
}

#[test]
fn share_says_how_a_container_has_access() {
    let mut source = String::new();
    let place = pod_with(|place, c| {
        source = place.dir.display().to_string();
        for (name, share) in [("mine", "container"), ("theirs", "shared"), ("other", "other")] {
            std::fs::create_dir(place.dir.join(name)).unwrap();
            if name != "other" {
                let at = format!("{source}/{name}");
                hint(c, "gvisor", name, &[("source", &at), ("type", "bind"), ("share", share)]);
            }
        }
    });
    for (name, flag, access) in [
        ("mine", "exclusive", "exclusive"),
        ("mine", "shared", "exclusive"),
        ("theirs", "exclusive", "shared"),
        ("theirs", "shared", "shared"),
        // Another volume, and a name that is not the very same.
        ("other", "shared", "shared"),
        ("other", "exclusive", "exclusive"),
        ("./theirs", "exclusive", "exclusive"),
    ] {
        let at = format!("{source}/{name}");
        member_with(&place, &["sleep", "500"], |c| {
            let mount = json!({ "destination": "/data", "type": "bind", "source": at, "options": BIND });
            c["mounts"].as_array_mut().unwrap().push(mount);
        });
        place.ok(&["run", "-d", "--file-access-mounts", flag, "one"]);
        assert_eq!(mounted(&place, "one")["host"]["access"], access, "{name} {flag}");
        place.ok(&["delete", "--force", "one"]);
    }
    end(&place);
}

#[test]
fn a_tmpfs_of_one_container_lives_over_its_restarts() {
    let fields = [("source", "/no/such/cache"), ("type", "tmpfs"), ("share", "container")];
    let place = pod_with(|_, c| hint(c, "gvisor", "cache", &fields));
    for n in 1..4 {
        let made = run(&place, "one", ("bind", "/no/such/cache", BIND), "echo x >> /data/log; exec sleep 500");
        assert_eq!(made.err, "");
        common::wait_for(
            || sh(&place, "one", "wc -l < /data/log").trim() == n.to_string(),
            || sh(&place, "one", "cat /data/log"),
        );
        place.ok(&["delete", "--force", "one"]);
    }
    end(&place);
}

#[test]
fn a_mount_is_as_restrictive_as_its_volume() {
    let fields = [("source", "/v"), ("type", "tmpfs"), ("share", "pod"), ("options", "ro,noexec,nosuid,noatime")];
    let place = pod_with(|_, c| hint(c, "gvisor", "data", &fields));
    let all = ["rbind", "ro", "noexec", "nosuid", "noatime"];
    for lacks in ["ro", "noexec", "nosuid", "noatime"] {
        let options: Vec<&str> = all.into_iter().filter(|o| *o != lacks).collect();
        let change = |c: &mut Value| {
            let mount = json!({ "destination": "/data", "type": "bind", "source": "/v", "options": options });
            c["mounts"].as_array_mut().unwrap().push(mount);
        };
        cannot_join(&place, "one", change, &["mount /data: mount hint data", &format!("must have the option {lacks}")]);
    }
    assert_eq!(run(&place, "one", ("bind", "/v", &all), "exec sleep 500").err, "");
    let options = mounted(&place, "one")["options"].to_string();
    assert!(["ro", "noexec", "nosuid", "noatime"].iter().all(|o| options.contains(o)), "{options}");
    place.ok(&["delete", "--force", "one"]);
    end(&place);
}

/// The sandbox' annotations count, as they were when it was started.
#[test]
fn a_hint_without_its_volume_is_refused() {
    let place = pod_with(|_, _| ());
    let path = place.states().join("pause/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    hint(&mut state, "gvisor", "late", &[("source", "/v"), ("type", "tmpfs"), ("share", "pod")]);
    std::fs::write(&path, state.to_string()).unwrap();
    let change = |c: &mut Value| {
        c["mounts"].as_array_mut().unwrap().push(json!({ "destination": "/data", "type": "bind", "source": "/v" }));
    };
    cannot_join(&place, "one", change, &["mount /data: mount hint late", "started without this volume"]);
    end(&place);
}

#[test]
fn bad_hints_are_named_and_leave_nothing() {
    let place = Place::real();
    let whole = [("source", "/v"), ("type", "bind"), ("share", "pod"), ("options", "rw")];
    for (field, value, words) in [
        ("source", "/no/such/folder", ["mount hint data: source /no/such/folder", "no such file"]),
        ("type", "nfs", ["annotation dev.gvisor.spec.mount.data.type", "neither tmpfs nor bind"]),
        ("share", "everybody", ["annotation dev.gvisor.spec.mount.data.share", "none of container, pod, shared"]),
        ("kind", "x", ["annotation dev.gvisor.spec.mount.data.kind", "source, type, share, options"]),
    ] {
        place.config(&["true"], |c| {
            c["annotations"] = json!({});
            hint(c, "gvisor", "data", &whole);
            hint(c, "gvisor", "data", &[(field, value)]);
        });
        place.fails(&["run", "one"], 1, &words);
        place.assert_empty();
    }
    place.config(&["true"], |c| {
        c["annotations"] = json!({});
        hint(c, "gvisor", "data", &[("source", "/v"), ("type", "tmpfs"), ("share", "pod"), ("options", "size=lots")]);
    });
    place.fails(&["run", "one"], 1, &["mount hint data"]);
    place.assert_empty();
    // A container alone may have hints, too: its own mounts find the volume.
    place.config(&["sh", "-c", "echo x > /data/f; cat /again/f"], |c| {
        c["annotations"] = json!({});
        hint(c, "gvisor", "data", &[("source", "/v"), ("type", "tmpfs"), ("share", "pod")]);
        c["mounts"] =
            ["/data", "/again"].map(|at| json!({ "destination": at, "type": "bind", "source": "/v" })).to_vec().into();
    });
    assert_eq!(place.ok(&["run", "one"]), "x\n");
    place.assert_empty();
}

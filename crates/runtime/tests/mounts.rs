//! Mounts as Docker, Podman, containerd and Kubernetes write them: each rule of the file system's specification that config.json can ask for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// The parts of config.json that engines write, as they write them.
const DOCKER: &str = include_str!("bundles/docker.json");
const PODMAN: &str = include_str!("bundles/podman.json");
const KUBERNETES: &str = include_str!("bundles/kubernetes.json");

/// A container that runs a script, with `config` put over config.json; `@` in sources stands for the place's folder.
fn run(place: &Place, config: Value, script: &str) -> common::Answer {
    place.config(&["busybox", "sh", "-c", script], |c| {
        for (key, value) in config.as_object().unwrap() {
            c[key] = value.clone();
        }
    });
    let file = place.dir.join("b/config.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("@/", &format!("{}/", place.dir.display()));
    std::fs::write(&file, text).unwrap();
    place.run(&["run", "x"])
}

fn out(place: &Place, config: Value, script: &str) -> String {
    let answer = run(place, config, script);
    assert_eq!(answer.status, 0, "{script}: {} {}", answer.out, answer.err);
    answer.out
}

fn error(place: &Place, config: Value) -> String {
    let answer = run(place, config, "true");
    assert_ne!(answer.status, 0, "{}", answer.out);
    place.assert_empty();
    answer.err
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    let mut all = vec!["rbind"];
    all.extend(options);
    json!({ "destination": destination, "type": "bind", "source": source, "options": all })
}

fn folder(place: &Place, name: &str, file: &str) -> PathBuf {
    let at = place.dir.join(name);
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(at.join(file), format!("{name}\n")).unwrap();
    at
}

/// Lines of /proc/mounts as "point type options", for points below the given ones.
const MOUNTS: &str = "while read -r s p t o r; do echo $p $t $o; done < /proc/mounts";

#[test]
fn engines_own_bundles_start_and_are_as_they_say() {
    let place = Place::real();
    for name in ["resolv.conf", "hostname", "hosts", "termination-log"] {
        std::fs::write(place.dir.join(name), format!("{name}\n")).unwrap();
    }
    folder(&place, "volume", "file");
    folder(&place, "token", "token");
    folder(&place, "shm", "old");
    std::fs::write(place.dir.join("b/rootfs/etc/conf"), "image\n").unwrap();
    for (engine, text) in [("docker", DOCKER), ("podman", PODMAN), ("kubernetes", KUBERNETES)] {
        let config: Value = serde_json::from_str(text).unwrap();
        let mut answer = run(&place, config, MOUNTS);
        assert_eq!(answer.status, 0, "{engine}: {}", answer.err);
        // A number that depends on the host's memory.
        let plain = |line: &str| line.split(',').filter(|o| !o.starts_with("nr_inodes=")).collect::<Vec<_>>().join(",");
        answer.out = answer.out.lines().map(plain).collect::<Vec<_>>().join("\n");
        let has =
            |line: &str| assert!(answer.out.lines().any(|l| l == line), "{engine}: no {line:?} in\n{}", answer.out);
        has("/proc proc rw,nosuid,nodev,noexec,relatime");
        has("/sys sysfs ro,nosuid,nodev,noexec,relatime");
        assert!(answer.out.lines().any(|l| l.starts_with("/dev devtmpfs rw,nosuid")), "{engine}: {}", answer.out);
        assert!(
            answer.out.lines().any(|l| l.starts_with("/dev/pts devpts rw,nosuid,noexec")),
            "{engine}: {}",
            answer.out
        );
        has("/sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime");
        for masked in ["/proc/kcore", "/proc/keys"] {
            assert!(!answer.out.contains(masked) || answer.out.contains(&format!("{masked} devtmpfs")), "{engine}");
        }
        has("/proc/sys proc ro,nosuid,nodev,noexec,relatime");
        match engine {
            "docker" => {
                has("/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k");
                has("/etc/hosts gofer rw,relatime");
                has("/data gofer ro,relatime");
            }
            "podman" => {
                has("/dev/shm gofer rw,nosuid,nodev,noexec,relatime");
                has("/etc tmpfs rw,nosuid,nodev,relatime,size=1024k,mode=755");
            }
            _ => {
                has("/var/run/secrets/kubernetes.io/serviceaccount gofer ro,relatime");
                has("/dev/termination-log gofer rw,relatime");
            }
        }
    }
    // tmpcopyup: what the tmpfs covers is in it.
    let podman: Value = serde_json::from_str(PODMAN).unwrap();
    assert_eq!(
        out(&place, podman, "cat /etc/conf; echo new > /etc/conf; cat /etc/conf; cat /dev/shm/old"),
        "image\nnew\nshm\n"
    );
    assert_eq!(std::fs::read_to_string(place.dir.join("b/rootfs/etc/conf")).unwrap(), "image\n");
    let kubernetes: Value = serde_json::from_str(KUBERNETES).unwrap();
    assert_eq!(
        out(
            &place,
            kubernetes,
            "cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo bye > /dev/termination-log"
        ),
        "token\n"
    );
    assert_eq!(std::fs::read_to_string(place.dir.join("termination-log")).unwrap(), "bye\n");
    place.assert_empty();
}

#[test]
fn mounts_in_any_order_nested_below_each_other() {
    let place = Place::real();
    for name in ["a", "b2", "c"] {
        folder(&place, name, "file");
    }
    let mounts = json!([
        bind("@/c", "/m/x/y/z", &[]),
        { "destination": "/m/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] },
        bind("@/a/file", "/m/x/single", &["ro"]),
        bind("@/b2", "/m/", &[]),
        bind("@/a", "/./n//o", &["ro"]),
    ]);
    let script = "cat /m/file /m/x/y/z/file /m/x/single /n/o/file; ls /m/x; echo x > /m/x/y/z/new; (echo y > /n/o/new) 2>&1 | grep -o 'Read-only'";
    assert_eq!(out(&place, json!({ "mounts": mounts }), script), "b2\nc\na\na\nsingle\ny\nRead-only\n");
    assert!(place.dir.join("c/new").exists() && !place.dir.join("a/new").exists());
    // Later ones of one destination cover earlier ones.
    let mounts = json!([bind("@/a", "/m", &[]), bind("@/c", "/m", &[])]);
    assert_eq!(out(&place, json!({ "mounts": mounts }), "cat /m/file"), "c\n");
    place.assert_empty();
}

#[test]
fn mount_points_are_made_where_they_are_missing() {
    let place = Place::real();
    folder(&place, "a", "file");
    let mounts = json!([bind("@/a", "/new/deep/er", &[]), bind("@/a/file", "/new/file", &[])]);
    // In a read-only root they exist in the sandbox alone; else in the root itself.
    let script =
        "cat /new/deep/er/file /new/file; busybox stat -c '%a %F' /new /new/deep /new/file | busybox tail -3; ls /new";
    let shown = "a\na\n755 directory\n755 directory\n";
    let text = out(&place, json!({ "mounts": mounts }), script);
    assert!(text.starts_with(shown) && text.ends_with("deep\nfile\n"), "{text}");
    assert!(!place.dir.join("b/rootfs/new").exists());
    let text = out(&place, json!({ "root": { "path": "rootfs" }, "mounts": mounts }), script);
    assert!(text.starts_with(shown), "{text}");
    let mode = |path: &str| std::fs::metadata(place.dir.join("b/rootfs/new").join(path)).unwrap().permissions().mode();
    assert_eq!((mode("deep/er"), mode("file")), (0o40755, 0o100_644));
    place.assert_empty();
}

#[test]
fn links_on_the_way_are_followed_in_the_containers_root_alone() {
    let place = Place::real();
    folder(&place, "a", "file");
    let root = place.dir.join("b/rootfs");
    std::fs::create_dir(root.join("var")).unwrap();
    symlink("/run", root.join("var/run")).unwrap();
    symlink("../../../../../escape", root.join("var/up")).unwrap();
    symlink("real", root.join("var/chain")).unwrap();
    symlink("/var/none/x", root.join("var/real")).unwrap();
    symlink("/loop", root.join("loop")).unwrap();
    let mounts = json!([bind("@/a", "/var/run/x", &[]), bind("@/a", "/var/up/y", &[]), bind("@/a", "/var/chain", &[])]);
    let config = json!({ "root": { "path": "rootfs" }, "mounts": mounts });
    assert_eq!(out(&place, config, "cat /run/x/file /escape/y/file /var/none/x/file"), "a\na\na\n");
    assert!(root.join("run/x").is_dir() && root.join("escape/y").is_dir() && !place.dir.join("escape").exists());
    let text = error(&place, json!({ "mounts": [bind("@/a", "/loop/x", &[])] }));
    assert!(text.contains("mount point /loop/x") && text.contains("symbolic links"), "{text}");
    place.assert_empty();
}

#[test]
fn a_mount_point_of_another_kind_is_an_error_that_names_it() {
    let place = Place::real();
    folder(&place, "a", "file");
    let text = error(&place, json!({ "mounts": [bind("@/a", "/bin/busybox", &[])] }));
    assert!(text.contains("mount point /bin/busybox is a file, but what is mounted is a folder"), "{text}");
    let text = error(&place, json!({ "mounts": [bind("@/a/file", "/etc", &[])] }));
    assert!(text.contains("mount point /etc is a folder, but what is mounted is a file"), "{text}");
    let text = error(&place, json!({ "mounts": [bind("@/nope", "/etc", &[])] }));
    assert!(text.contains("mounts[0].source") && text.contains("nope") && text.contains("/etc"), "{text}");
}

#[test]
fn options_are_kept_and_unknown_ones_skipped_with_a_warning() {
    let place = Place::real();
    folder(&place, "a", "file");
    let mounts = json!([
        bind("@/a", "/a", &["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"]),
        bind("@/a", "/b", &["rro", "rnosuid"]),
        bind("@/a", "/c", &["what", "key=value"]),
        { "destination": "/t", "type": "tmpfs", "source": "t", "options": ["mode=1777", "size=64k", "uid=5", "gid=6", "nr_inodes=10", "huge=never"] },
        { "destination": "/odd", "type": "ext4", "source": "/dev/sda1", "options": [] },
    ]);
    let answer = run(
        &place,
        json!({ "mounts": mounts }),
        &format!(
            "{MOUNTS} | grep '^/[abct] '; busybox stat -c '%a %u %g' /t; busybox dd if=/dev/zero of=/t/f bs=1k count=100 2>&1 | grep -o 'No space'"
        ),
    );
    assert_eq!(answer.status, 0, "{}", answer.err);
    let lines = "/a gofer ro,nosuid,nodev,noexec,noatime,nodiratime\n/b gofer ro,nosuid,relatime\n/c gofer rw,relatime\n\
        /t tmpfs rw,relatime,size=64k,nr_inodes=10,uid=5,gid=6\n1777 5 6\nNo space\n";
    assert_eq!(answer.out, lines);
    let answer = place.run(&["--debug", "run", "x"]);
    for word in [
        "option what is not known",
        "option key=value is not known",
        "option huge=never is not known",
        "type ext4 is not known",
    ] {
        assert!(answer.err.contains(word), "{word}: {}", answer.err);
    }
    for (option, word) in [("a=b=c", "invalid option"), ("idmap", "not supported")] {
        let text = error(&place, json!({ "mounts": [bind("@/a", "/a", &[option])] }));
        assert!(text.contains("mount /a") && text.contains(option) && text.contains(word), "{text}");
    }
    let bad = json!([{ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["size=lots"] }]);
    let text = error(&place, json!({ "mounts": bad }));
    assert!(text.contains("mount /t (tmpfs)") && text.contains("Invalid argument"), "{text}");
}

#[test]
fn propagation_is_as_the_options_say() {
    let place = Place::real();
    folder(&place, "a", "file");
    let mounts = json!([
        { "destination": "/s", "type": "tmpfs", "source": "t", "options": ["rshared"] },
        { "destination": "/p", "type": "tmpfs", "source": "t", "options": ["rprivate"] },
        { "destination": "/u", "type": "tmpfs", "source": "t", "options": ["unbindable"] },
        bind("@/a", "/b", &["rslave"]),
    ]);
    let script = "grep -o ' /[spub] .*- ' /proc/self/mountinfo | busybox sed 's/:[0-9]*//'";
    let text = out(&place, json!({ "mounts": mounts }), script);
    for line in
        [" /s rw,relatime shared - ", " /p rw,relatime - ", " /u rw,relatime unbindable - ", " /b rw,relatime - "]
    {
        assert!(text.lines().any(|l| l == line), "no {line:?} in {text}");
    }
    let script = "grep -o ' / .*- ' /proc/self/mountinfo | busybox sed 's/:[0-9]*//'";
    let config = json!({ "linux": { "rootfsPropagation": "shared" } });
    assert!(out(&place, config, script).contains(" shared - "));
    place.assert_empty();
}

#[test]
fn masked_and_readonly_paths() {
    let place = Place::real();
    folder(&place, "a", "file");
    std::fs::write(place.dir.join("b/rootfs/etc/secret"), "secret\n").unwrap();
    let config = json!({
        "root": { "path": "rootfs" },
        "mounts": [bind("@/a", "/v", &[]), bind("@/a", "/w", &[])],
        "linux": { "maskedPaths": ["/etc/secret", "/v", "/nope", "/proc/kcore"], "readonlyPaths": ["/w", "/etc/old", "/proc/sys", "/nope"] },
    });
    let script = "cat /etc/secret; ls /v; (echo x > /v/new) 2>&1 | grep -o Read-only; (echo x > /w/new) 2>&1 | grep -o Read-only; cat /w/file;
        (echo x > /proc/sys/kernel/hostname) 2>&1 | grep -o Read-only; echo x > /etc/new; cat /etc/new; busybox stat -c %t /etc/secret";
    assert_eq!(out(&place, config, script), "Read-only\nRead-only\na\nRead-only\nx\n1\n");
    assert_eq!(std::fs::read_to_string(place.dir.join("b/rootfs/etc/secret")).unwrap(), "secret\n");
    place.assert_empty();
}

#[test]
fn devices_are_made_as_they_are_written() {
    let place = Place::real();
    let config = json!({ "linux": { "devices": [
        { "path": "/dev/mine/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 7, "gid": 8 },
        { "path": "/dev/block", "type": "b", "major": 7, "minor": 3 },
        { "path": "/dev/fifo", "type": "p", "fileMode": 0o600 },
        { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3 },
        { "path": "/dev/null", "type": "c", "major": 9, "minor": 9, "fileMode": 0, "uid": 5 },
    ] } });
    let script = "busybox stat -c '%n %F %a %u %g %t %T' /dev/mine/zero /dev/block /dev/fifo /dev/unbuffered /dev/null; busybox stat -c %a /dev/mine;
        busybox head -c 3 /dev/mine/zero | busybox od -An -tx1; cat /dev/block 2>&1 | grep -o 'No such device.*'";
    assert_eq!(
        out(&place, config, script),
        "/dev/mine/zero character special file 644 7 8 1 5\n/dev/block block special file 666 0 0 7 3\n/dev/fifo fifo 600 0 0 0 0\n\
         /dev/unbuffered character special file 666 0 0 1 3\n/dev/null character special file 666 0 0 1 3\n755\n 00 00 00\nNo such device or address\n"
    );
    let text =
        error(&place, json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "x", "major": 1, "minor": 1 }] } }));
    assert!(text.contains("linux.devices"), "{text}");
}

#[test]
fn tmp_is_the_sandboxs_own_where_nothing_is_there() {
    let place = Place::real();
    let script = format!(
        "{MOUNTS} | grep ^/tmp | busybox cut -d, -f1-4; echo x > /tmp/x && cat /tmp/x; busybox stat -c %a /tmp"
    );
    let own = "/tmp tmpfs rw,nosuid,nodev,relatime\nx\n1777\n";
    assert_eq!(out(&place, json!({}), &script), own);
    let tmp = place.dir.join("b/rootfs/tmp");
    std::fs::remove_dir(&tmp).unwrap();
    assert_eq!(out(&place, json!({}), &script), own);
    // Left alone: with an entry, as no folder, and where config.json has something to say.
    std::fs::create_dir(&tmp).unwrap();
    std::fs::write(tmp.join("entry"), "").unwrap();
    assert_eq!(out(&place, json!({}), &format!("{MOUNTS} | grep -c ^/tmp; ls /tmp")), "0\nentry\n");
    std::fs::remove_dir_all(&tmp).unwrap();
    std::fs::write(&tmp, "").unwrap();
    assert_eq!(out(&place, json!({}), &format!("{MOUNTS} | grep -c ^/tmp; [ -f /tmp ] && echo file")), "0\nfile\n");
    std::fs::remove_file(&tmp).unwrap();
    folder(&place, "a", "file");
    let text =
        out(&place, json!({ "mounts": [bind("@/a", "/tmp/below", &[])] }), &format!("{MOUNTS} | grep ^/tmp; ls /tmp"));
    assert_eq!(text, "/tmp/below gofer rw,relatime\nbelow\n");
    place.assert_empty();
}

#[test]
fn the_working_folder_is_made() {
    let place = Place::real();
    let process = json!({ "user": { "uid": 0, "gid": 0 }, "args": ["busybox", "sh", "-c", "pwd; busybox stat -c %a ."], "cwd": "/work/here", "env": ["PATH=/bin"] });
    let config = json!({ "root": { "path": "rootfs" }, "process": process });
    assert_eq!(out(&place, config, ""), "/work/here\n755\n");
    assert!(place.dir.join("b/rootfs/work/here").is_dir());
}

#[test]
fn a_bind_mount_by_any_type_is_one() {
    let place = Place::real();
    folder(&place, "a", "file");
    for kind in ["bind", "none", "", "ext4"] {
        let mounts = json!([{ "destination": "/m", "type": kind, "source": "@/a", "options": ["bind"] }]);
        assert_eq!(out(&place, json!({ "mounts": mounts }), "cat /m/file"), "a\n", "{kind}");
    }
    // By its type alone, and from a path relative to the bundle.
    let mounts = json!([{ "destination": "/m", "type": "bind", "source": "../a" }]);
    assert_eq!(out(&place, json!({ "mounts": mounts }), "cat /m/file"), "a\n");
    place.assert_empty();
}

//! `--overlay2` with the real kernel: each medium, the bound, a full disk, bad values. Section 7 of the file system's specification.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Place, wait_for};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A root and a volume with something in them, and a container that runs `script`.
fn prepared(script: &str) -> Place {
    let place = Place::real();
    let (root, volume) = (place.dir.join("b/rootfs"), place.dir.join("volume"));
    std::fs::write(root.join("etc/old"), "old\n").unwrap();
    std::fs::create_dir(root.join("data")).unwrap();
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "volume\n").unwrap();
    std::fs::write(place.dir.join("single"), "single\n").unwrap();
    std::fs::write(root.join("single"), "").unwrap();
    std::fs::create_dir(place.dir.join("store")).unwrap();
    configure(&place, script);
    place
}

fn configure(place: &Place, script: &str) {
    let (volume, single) = (place.dir.join("volume"), place.dir.join("single"));
    place.config(&["busybox", "sh", "-ec", script], |c| {
        c["root"]["readonly"] = false.into();
        c["mounts"] = json!([
            { "destination": "/data", "type": "bind", "source": volume, "options": ["rbind", "rw"] },
            { "destination": "/single", "type": "bind", "source": single, "options": ["bind"] },
        ]);
    });
}

/// Every name below a folder with its contents, as far as it has some.
fn tree(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let contents = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.strip_prefix(at).unwrap().display().to_string(), contents);
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// What a container does with files: small and large ones, old ones changed, cut, mapped (by exec), renamed, removed.
const WORK: &str = "
    echo new >> /etc/old; cat /etc/old
    busybox dd if=/dev/zero of=/big bs=64k count=40 2>/dev/null
    echo tail >> /big; busybox tail -c 5 /big; busybox wc -c < /big
    busybox truncate -s 100000 /big; busybox wc -c < /big
    busybox mkdir /m; busybox cp /bin/busybox /m/busybox; /m/busybox true; /m/busybox rm -r /m
    busybox mkdir /d; for i in 1 2 3 4 5 6 7 8 9; do busybox head -c 20000 /bin/busybox > /d/$i; done
    busybox mv /d /e; busybox md5sum /e/9 | busybox cut -c1-32; busybox rm -r /e; ls /";

#[test]
fn changes_of_the_root_go_to_each_medium_and_not_to_the_host() {
    let place = prepared(WORK);
    let before = tree(&place.dir.join("b"));
    let store = place.dir.join("store");
    let dir = format!("root:dir={}", store.display());
    let mut outputs = Vec::new();
    for choice in ["root:memory", "root:self", &dir, "root:self,size=64m", "all:memory", "all:self"] {
        outputs.push(place.ok(&["--overlay2", choice, "run", "x"]));
        assert_eq!(before, tree(&place.dir.join("b")), "{choice}");
        assert_eq!(tree(&store).len(), 0, "{choice}");
        outputs.push(place.ok(&[
            "do",
            "--rootfs",
            "rootfs",
            &format!("--overlay2={choice}"),
            "busybox",
            "sh",
            "-ec",
            WORK,
        ]));
        assert_eq!(before, tree(&place.dir.join("b")), "{choice}");
    }
    assert!(outputs[0].starts_with("old\nnew\ntail\n2621445\n100000\n"), "{}", outputs[0]);
    let run: Vec<_> = outputs.iter().step_by(2).collect();
    assert!(run.windows(2).all(|pair| pair[0] == pair[1]), "{run:?}");
    place.assert_empty();
}

#[test]
fn without_an_overlay_changes_reach_the_host() {
    let place = prepared("echo new > /etc/new; echo more >> /data/file; echo more >> /single");
    place.ok(&["--overlay2=none", "run", "x"]);
    let read = |path: &str| std::fs::read_to_string(place.dir.join(path)).unwrap();
    assert_eq!(read("b/rootfs/etc/new"), "new\n");
    assert_eq!((read("volume/file"), read("single")), ("volume\nmore\n".into(), "single\nmore\n".into()));
    // With root: the mounts are as they were.
    place.ok(&["--overlay2=root:memory", "run", "x"]);
    assert_eq!(read("volume/file"), "volume\nmore\nmore\n");
}

#[test]
fn all_covers_bind_mounts_too_also_single_files() {
    let script = "echo more >> /data/file; echo more >> /single; echo x > /data/new; cat /data/file /single; ls /data";
    let place = prepared(script);
    let before = (tree(&place.dir.join("volume")), std::fs::read(place.dir.join("single")).unwrap());
    for choice in ["all:memory", "all:self", &format!("all:dir={}", place.dir.join("store").display())] {
        let answer = place.run(&["--overlay2", choice, "run", "x"]);
        assert_eq!((answer.status, &*answer.out), (0, "volume\nmore\nsingle\nmore\nfile\nnew\n"), "{}", answer.err);
        let warned = answer.err.contains("single is no folder; changes to it are kept in memory");
        assert_eq!(warned, choice == "all:self", "{}", answer.err);
        assert_eq!(before, (tree(&place.dir.join("volume")), std::fs::read(place.dir.join("single")).unwrap()));
    }
}

#[test]
fn space_comes_back_when_a_file_is_removed_or_cut() {
    let place = prepared("while :; do sleep 100; done");
    place.ok(&["--overlay2=all:self", "run", "-d", "x"]);
    // Nameless files that the kernel process holds open, and what they take.
    let taken = || -> u64 {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", place.pid("x"))).unwrap().flatten();
        let ours = fds.filter(|fd| {
            let link = std::fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned();
            link.ends_with("(deleted)") && !link.starts_with("/memfd:")
        });
        ours.map(|fd| std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(fd.path()).unwrap()) * 512).sum()
    };
    assert_eq!(taken(), 0);
    for at in ["/f", "/data/f"] {
        place.ok(&["exec", "x", "busybox", "dd", "if=/dev/zero", &format!("of={at}"), "bs=1M", "count=8"]);
        wait_for(|| taken() >= 8 << 20, || format!("{} bytes are taken", taken()));
        place.ok(&["exec", "x", "busybox", "truncate", "-s", "1M", at]);
        assert!(taken() <= 2 << 20, "{}", taken());
        place.ok(&["exec", "x", "busybox", "rm", at]);
        wait_for(|| taken() == 0, || format!("{} bytes are still taken", taken()));
    }
    place.ok(&["delete", "-f", "x"]);
}

#[test]
fn a_size_bounds_each_overlay_by_itself() {
    let script = "
        for at in / /data/; do
            busybox dd if=/dev/zero of=${at}f bs=64k count=1000 2>&1 | grep -o 'No space left on device' || true
            busybox df -Pk $at | busybox tail -1 | busybox awk '{ print $2, $4 }'
            busybox wc -c < ${at}f
            echo x 2>/dev/null > ${at}g || echo full
            busybox rm ${at}f; echo x > ${at}g && cat ${at}g
        done";
    let place = prepared(script);
    for choice in ["all:memory,size=4m", "all:self,size=4m"] {
        let one = "No space left on device\n4096 0\n4194304\nfull\nx\n";
        assert_eq!(place.ok(&["--overlay2", choice, "run", "x"]), format!("{one}{one}"), "{choice}");
    }
}

#[test]
fn a_full_disk_of_the_host_is_enospc_inside() {
    let script = "
        busybox dd if=/dev/zero of=/f bs=64k count=1000 2>&1 | grep -o 'No space left on device'
        busybox df -Pk / | busybox tail -1 | busybox awk '{ print $4 }'
        busybox dd if=/f bs=64k 2>/dev/null | busybox tr -d '\\0' | busybox wc -c
        [ $(busybox wc -c < /f) -gt 3000000 ]; busybox rm /f; echo room > /g; cat /g
        busybox dd if=/dev/zero of=/f bs=64k count=10 2>/dev/null; busybox wc -c < /f";
    on_a_small_disk(&prepared(script), "size=4m", "No space left on device\n0\n0\nroom\n655360\n");
}

/// Runs the container with its changes on a disk of that size: what it says, and that the disk is free after. Only root mounts one.
fn on_a_small_disk(place: &Place, size: &str, expected: &str) {
    let store = place.dir.join("store");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&store).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root mounts a small disk");
        return;
    }
    let choice = format!("--overlay2=root:dir={}", store.display());
    let answer = place.run(&[&choice, "run", "x"]);
    let gone = Command::new("umount").arg(&store).status().unwrap().success();
    assert_eq!((answer.status, &*answer.out), (0, expected), "{}", answer.err);
    assert!(gone, "the disk is still in use");
}

#[test]
fn a_copy_up_that_finds_the_disk_full_leaves_the_file_as_it_was() {
    let script = "
        tried() { \"$@\" 2>&1 | grep -o 'No space left on device' || echo done; }
        old() { busybox md5sum < /etc/large; busybox stat -c '%s %a %Y' /etc/large; ls /etc | busybox tr '\\n' ' '; }
        old > /dev/shm/before
        tried busybox dd if=/bin/busybox of=/etc/large conv=notrunc bs=10 count=1 status=none
        tried busybox truncate -s 4000000 /etc/large
        old > /dev/shm/after
        busybox cmp /dev/shm/before /dev/shm/after && echo same
        echo room > /etc/room; cat /etc/room
        busybox rm /etc/large; busybox head -c 100000 /bin/busybox > /etc/large; busybox wc -c < /etc/large";
    let place = prepared(script);
    let file = place.dir.join("b/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs" }));
    std::fs::write(&file, config.to_string()).unwrap();
    let large = place.dir.join("b/rootfs/etc/large");
    std::fs::write(&large, vec![7; 3 << 20]).unwrap();
    let expected = "No space left on device\nNo space left on device\nsame\nroom\n100000\n";
    on_a_small_disk(&place, "size=1m", expected);
    assert_eq!(std::fs::read(&large).unwrap(), vec![7; 3 << 20]);
}

#[test]
fn without_descriptors_left_files_cannot_grow_and_others_work_on() {
    // Each of these files is a descriptor of the kernel process; another user than root cannot have more than the shell's limit.
    let script = "
        busybox mkdir /t
        for i in $(busybox seq 300); do busybox head -c 20000 /bin/busybox > /t/$i || break; done 2>&1 |
            grep -o -m 1 'No space left on device'
        busybox rm -r /t; busybox head -c 20000 /bin/busybox > /x; busybox wc -c < /x; cat /etc/old";
    let place = prepared(script);
    if host::rustix::process::geteuid().is_root() {
        let limited =
            "ulimit -n 200; exec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource $RUN --overlay2";
        for choice in ["root:memory", "root:self"] {
            let (status, out, err) = place.shell(&format!("{limited}={choice}"));
            assert_eq!((status, &*out), (0, "No space left on device\n20000\nold\n"), "{choice}: {err}");
        }
    }
    place.assert_empty();
}

#[test]
fn config_json_may_choose_for_its_root() {
    let place = prepared("echo new > /etc/new; busybox df -Pk / | busybox tail -1 | busybox awk '{ print $2 }'");
    let annotate = |value: &str| {
        configure(&place, "echo new > /etc/new; busybox df -Pk / | busybox tail -1 | busybox awk '{ print $2 }'");
        let file = place.dir.join("b/config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["annotations"] = json!({ "dev.stockade.spec.rootfs.overlay": value });
        std::fs::write(&file, config.to_string()).unwrap();
    };
    annotate("memory,size=8m");
    assert_eq!(place.ok(&["run", "x"]), "8192\n");
    assert!(!place.dir.join("b/rootfs/etc/new").exists());
    annotate("dir=/tmp");
    place.fails(&["run", "x"], 1, &["config.json", "dev.stockade.spec.rootfs.overlay", "/tmp", "only --overlay2"]);
    annotate("none");
    place.ok(&["--overlay2=root:memory", "run", "x"]);
    assert!(place.dir.join("b/rootfs/etc/new").exists());
    place.assert_empty();
}

#[test]
fn bad_places_are_named() {
    let place = prepared("true");
    place.fails(&["--overlay2=root:dir=/no/such", "run", "x"], 1, &["--overlay2", "dir=/no/such", "no such file"]);
    let file = format!("--overlay2=root:dir={}", place.dir.join("single").display());
    place.fails(&[&file, "run", "x"], 1, &["--overlay2", "single", "is no folder"]);
    place.fails(&["--overlay2=root:dir=/proc", "run", "x"], 1, &["/proc", "overlay", "choose another place"]);
    let answer = place.run(&["--overlay2=root:disk", "run", "x"]);
    assert_ne!(answer.status, 0);
    assert!(answer.err.contains("root:disk") && answer.err.contains("no medium \"disk\""), "{}", answer.err);
    let both = ["do", "--rootfs", "rootfs", "--writable", "--overlay2=root:memory", "true"];
    place.fails(&both, 1, &["--writable", "--overlay2"]);
    place.assert_empty();
}

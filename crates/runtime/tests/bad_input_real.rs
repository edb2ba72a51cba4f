//! Bad input that only the real kernel or the real host can meet: programs that cannot run, a host without room for a sandbox, streams that are
//! closed. Each ends with one line that names the object and the remedy, runc's status, and nothing left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Place, wait_for};

/// One line of errors with these words, and nothing left.
fn one_line(place: &Place, (status, _, err): (i32, String, String), words: &[&str]) {
    assert_eq!((status, err.lines().count()), (1, 1), "{err}");
    for word in words {
        assert!(err.contains(word), "no {word:?} in {err:?}");
    }
    place.assert_empty();
}

#[test]
fn programs_that_cannot_run() {
    let place = Place::real();
    let bin = place.dir.join("b/rootfs/bin");
    let busybox = std::fs::read(bin.join("busybox")).unwrap();
    let make = |name: &str, bytes: &[u8], mode: u32| {
        std::fs::write(bin.join(name), bytes).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut arm = busybox.clone();
    arm[18] = 0xb7; // e_machine: EM_AARCH64
    make("arm", &arm, 0o755);
    make("short-head", &busybox[..40], 0o755);
    make("short-body", &busybox[..20_000], 0o755);
    make("text", b"no program", 0o755);
    make("empty", b"", 0o755);
    make("script", b"#!/no/such/interpreter\n", 0o755);
    make("plain", &busybox, 0o644);
    let cannot = "not a program that this machine can run (another architecture, or truncated)";
    for (program, status, words) in [
        ("nope", 127, "executable file not found in $PATH"),
        ("/bin/nope", 127, "no such file or directory"),
        ("/bin/script", 127, "the interpreter that it names"),
        ("/bin/plain", 126, "permission denied"),
        ("/bin", 126, "permission denied"),
        ("/bin/arm", 126, cannot),
        ("/bin/short-head", 126, cannot),
        ("/bin/short-body", 126, cannot),
        ("/bin/text", 126, cannot),
        ("/bin/empty", 126, cannot),
    ] {
        let quoted = format!("{program:?}");
        place.config(&[program], |_| ());
        place.fails(&["run", "x"], 1, &["run failed: exec: ", &quoted, words]);
        place.fails(&["create", "x"], 1, &["create failed: exec: ", &quoted, words]);
        place.fails(&["do", "--rootfs", "rootfs", program], status, &[&quoted, words]);
        place.assert_empty();
    }
}

#[test]
fn fields_that_this_kernel_cannot_keep() {
    let place = Place::real();
    place.config(&["true"], |c| c["linux"]["sysctl"] = serde_json::json!({ "kernel.pid_max": "1" }));
    place.fails(&["run", "x"], 1, &["field linux.sysctl", "kernel.pid_max", "leave it out"]);
    place.config(&["true"], |c| c["linux"]["sysctl"] = serde_json::json!({ "kernel.shm_rmid_forced": "2" }));
    place.fails(&["run", "x"], 1, &["field linux.sysctl", "kernel.shm_rmid_forced", "cannot be \"2\""]);
    // What engines set by themselves is no error.
    place.config(&["true"], |c| c["linux"]["sysctl"] = serde_json::json!({ "net.ipv4.ip_forward": "1" }));
    let answer = place.run(&["run", "x"]);
    assert_eq!(answer.status, 0, "{}", answer.err);
    assert!(answer.err.contains("net.ipv4.ip_forward is ignored"), "{}", answer.err);
    place.assert_empty();
}

#[test]
fn a_host_that_is_too_old() {
    let place = Place::real();
    let old = "--platform=host-kernel=5.10.0-8-amd64";
    let words = ["the host's kernel is Linux 5.10.0-8-amd64", "needs 5.15 or later", "boot a newer kernel"];
    for command in ["run", "create"] {
        place.fails(&[old, command, "x"], 1, &words);
        place.assert_empty();
    }
    place.fails(&[old, "do", "--rootfs", "rootfs", "true"], 1, &words);
    assert!(place.ok(&[old, "features", "--host"]).contains("Linux 5.15: stockade cannot run"));
    place.assert_empty();
}

#[test]
fn a_host_without_user_namespaces() {
    let place = Place::real();
    // A user namespace of its own, in which there can be no further ones.
    let script = "exec unshare -Ur bash -c 'echo 0 > /proc/sys/user/max_user_namespaces || exit 9; exec $RUN'";
    let (status, out, err) = place.shell(script);
    if status == 9 || err.contains("unshare: ") {
        eprintln!("skipped: {err}");
        return;
    }
    one_line(&place, (status, out, err), &["namespaces", "user.max_*_namespaces"]);
}

#[test]
fn cgroups_that_cannot_be_had() {
    let place = Place::real();
    if !Path::new("/run/systemd/system").exists() {
        place.config(&["true"], |c| c["linux"]["cgroupsPath"] = "system.slice:a:b".into());
        place.fails(
            &["--systemd-cgroup", "run", "x"],
            1,
            &["--systemd-cgroup", "no systemd runs on this host", "leave the flag out"],
        );
        place.assert_empty();
    }
    place.config(&["sleep", "100"], |_| ());
    place.ok(&["run", "-d", "x"]);
    place.ok(&["exec", "--cgroup", "/", "x", "true"]);
    place.fails(&["exec", "--cgroup", "memory:/a", "x", "true"], 255, &["exec failed: --cgroup memory:/a", "give /"]);
    // The container's kernel keeps the limit of tasks by itself, without a cgroup.
    place.ok(&["update", "--pids-limit", "5", "x"]);
    let many = place.run(&["exec", "x", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 100 & done"]);
    assert!(many.err.contains("can't fork"), "{}", many.err);
    place.ok(&["update", "--pids-limit", "-1", "x"]);
    place.ok(&["exec", "x", "sh", "-c", "true & wait"]);
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn no_room_for_addresses() {
    let place = Place::real();
    let answer = place.shell("ulimit -v 100000; exec $RUN");
    one_line(&place, answer, &["limit of address space", "ulimit -v unlimited"]);
    // Only a soft limit: lifted for the sandbox.
    assert_eq!(place.shell("ulimit -S -v 100000; exec $RUN").0, 0);
    place.assert_empty();
}

#[test]
fn a_full_disk() {
    let place = Place::real();
    // A file system of one page in a mount namespace of its own, so that nothing stays mounted whatever happens.
    let script = "exec unshare -Urm bash -c 'mkdir full && mount -t tmpfs -o size=4k full full && (cat /dev/zero > full/zero) 2> /dev/null
        RUN=${RUN/$STATES/$PWD/full/s}; $RUN; status=$?; ls -A full/s; exit $status'";
    let script = format!("export STATES={}; {script}", place.states().display());
    let (status, out, err) = place.shell(&script);
    if err.contains("unshare") {
        eprintln!("skipped, this host allows no user namespaces: {err}");
        return;
    }
    assert_eq!((status, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(err.contains("state.json") && err.contains("No space left") && err.contains("is the disk full?"), "{err}");
    std::fs::remove_dir(place.bundle().join("full")).unwrap();
    place.assert_empty();
}

/// The limit counts a user's processes, so the user is one that has none; root is free of it.
#[test]
fn no_process_can_be_made() {
    let place = Place::real();
    for limit in 1..12 {
        let script = format!(
            "chmod -R a+rX ..; exec setpriv --reuid 54321 --regid 54321 --clear-groups bash -c 'ulimit -u {limit}; cd /; exec {} do --rootfs {} true'",
            place.binary.display(),
            place.dir.join("b/rootfs").display()
        );
        let (status, _, err) = place.shell(&script);
        if err.contains("setpriv") || err.contains("ermission denied") {
            eprintln!("skipped: {}", err.trim());
            return;
        }
        if status == 0 {
            // Enough from here on.
            assert!(limit > 2, "no limit seen");
            break;
        }
        assert_eq!((status, err.lines().count()), (1, 1), "limit {limit}: {err}");
        assert!(err.contains("ulimit -u"), "limit {limit}: {err}");
        wait_for(|| place.processes().is_empty(), || format!("limit {limit}: left {:?}", place.processes()));
    }
}

#[test]
fn streams_that_are_closed_or_whose_reader_is_gone() {
    let place = Place::real();
    // A stream that is closed is /dev/null to the program: no file that it opens later becomes its standard output.
    place.config(&["sh", "-c", "echo x; echo $? >&2; cat; exit 3"], |_| ());
    assert_eq!(place.shell("exec $RUN >&- <&-"), (3, String::new(), "0\n".into()));
    // SIGPIPE does not reach PID 1, which then sees EPIPE; it ends what `do` runs.
    place.config(&["sh", "-c", "while echo x; do :; done"], |_| ());
    let (status, out, err) = place.shell("$RUN | head -n 1; echo ${PIPESTATUS[0]}");
    assert_eq!((status, out.as_str()), (0, "x\n0\n"), "{err}");
    assert!(err.contains("Broken pipe"), "{err}");
    let binary = place.binary.display();
    let script =
        format!("{binary} do --rootfs rootfs sh -c 'while echo x; do :; done' | head -n 1; echo ${{PIPESTATUS[0]}}");
    assert_eq!(place.shell(&script).1, "x\n141\n");
    place.assert_empty();
}

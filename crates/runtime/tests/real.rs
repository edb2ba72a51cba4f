//! The command line with the real kernel: what a container is given, what the host sees of it, commands at the same time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Place, alive, wait_for};
use serde_json::{Value, json};

#[test]
fn statuses_are_the_programs() {
    let place = Place::real();
    for (script, status) in
        [("exit 7", 7), ("true", 0), ("sh -c 'kill -9 $$'; exit $?", 137), ("echo | cat | wc -l", 0)]
    {
        place.config(&["sh", "-c", script], |_| ());
        assert_eq!(place.run(&["run", "x"]).status, status, "{script}");
        assert_eq!(place.run(&["do", "--rootfs", "rootfs", "sh", "-c", script]).status, status, "do: {script}");
    }
    place.assert_empty();
}

#[test]
fn a_container_goes_through_its_states() {
    let place = Place::real();
    place.config(&["sleep", "100"], |_| ());
    place.ok(&["create", "x"]);
    assert_eq!(place.status("x"), "created");
    place.ok(&["kill", "x", "0"]);
    place.ok(&["start", "x"]);
    assert_eq!(place.status("x"), "running");
    assert_eq!(place.run(&["exec", "x", "sh", "-c", "exit 5"]).status, 5);
    assert_eq!(place.run(&["exec", "x", "sh", "-c", "kill -TERM $$"]).status, 143);
    place.ok(&["pause", "x"]);
    assert_eq!(place.status("x"), "paused");
    place.ok(&["resume", "x"]);
    assert_eq!(place.ok(&["exec", "x", "echo", "on"]), "on\n");
    place.ok(&["kill", "x", "KILL"]);
    wait_for(|| place.status("x") == "stopped", || "not stopped".into());
    place.fails(&["exec", "x", "true"], 255, &["exec failed: cannot exec in a stopped container"]);
    place.fails(&["start", "x"], 1, &["cannot start a container that has stopped"]);
    place.ok(&["delete", "x"]);
    place.assert_empty();
}

#[test]
fn strace_shows_what_becomes_of_the_stubs_work() {
    let place = Place::real();
    place.config(&["sh", "-c", "echo x"], |_| ());
    let answer = place.run(&["--strace", "run", "x"]);
    let lines = answer.err.lines().filter_map(|line| line.split_once("] brk"));
    let lines: Vec<&str> = lines.map(|(_, rest)| rest).collect();
    let moves = lines.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("(0x")?.strip_suffix(')')?, pair[1])));
    let moves: Vec<_> = moves.collect();
    assert!(!moves.is_empty(), "{}", answer.err);
    for (wanted, got) in moves {
        assert_eq!(got, format!(" = 0x{wanted}"), "{}", answer.err);
    }
    place.assert_empty();
}

#[test]
fn state_and_list_are_runcs() {
    let place = Place::real();
    place.config(&["sleep", "100"], |c| c["annotations"] = json!({ "a": "b" }));
    place.ok(&["run", "-d", "x"]);
    let text = place.ok(&["state", "x"]);
    let keys: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("  \"")?.split('"').next()).collect();
    assert_eq!(keys, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"]);
    let list = place.ok(&["list", "-f", "json"]);
    assert!(list.starts_with("[{\"ociVersion\":\"1.0.2\",\"id\":\"x\",\"pid\":") && list.ends_with("\"}]\n"), "{list}");
    // Two processes: two stubs of the sandbox, by their host numbers.
    place.ok(&["exec", "-d", "x", "sleep", "100"]);
    let processes = || -> Vec<i32> { serde_json::from_str(&place.ok(&["ps", "-f", "json", "x"])).unwrap() };
    // On a busy machine the second one's stub may still be on its way.
    wait_for(|| processes().len() == 2, || format!("{:?}", processes()));
    let pids = processes();
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).unwrap();
    assert!(pids.iter().all(|pid| *pid != place.pid("x") && namespace(*pid) == namespace(place.pid("x"))));
    place.ok(&["delete", "-f", "x"]);
    wait_for(|| !pids.iter().any(|p| alive(*p)), || "a stub is left".into());
    place.assert_empty();
}

#[test]
fn a_process_is_given_what_it_asks_for() {
    let place = Place::real();
    std::fs::write(place.dir.join("b/rootfs/etc/passwd"), "root:x:0:0::/root:/bin/sh\nu:x:7:8::/home/u:/bin/sh\n")
        .unwrap();
    place.config(&["sleep", "100"], |c| {
        c["process"]["capabilities"] =
            json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"] });
        c["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
    });
    place.ok(&["run", "-d", "x"]);
    let exec = |flags: &[&str], command: &str| {
        let mut all = vec!["exec"];
        all.extend(flags);
        all.extend(["x", "sh", "-c", command]);
        place.ok(&all)
    };
    assert_eq!(exec(&[], "echo $HOME $PWD"), "/root /\n");
    assert_eq!(
        exec(&["-u", "7:8", "--cwd", "/tmp", "-e", "A=b"], "echo $HOME $PWD $A; id -u; id -g"),
        "/home/u /tmp b\n7\n8\n"
    );
    assert_eq!(exec(&["-u", "9"], "echo $HOME"), "/\n");
    assert_eq!(exec(&["-e", "HOME=/here"], "echo $HOME"), "/here\n");
    assert_eq!(exec(&["-u", "7", "-g", "5", "-g", "6"], "id -G"), "0 5 6\n");
    // Ambient capabilities need inheritable ones (capabilities(7)), so another user than root is left with none.
    let caps = "grep -E 'CapPrm|CapAmb' /proc/self/status";
    assert_eq!(
        exec(&["-u", "7", "--cap", "CAP_CHOWN"], caps),
        "CapPrm:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    );
    assert_eq!(exec(&["--cap", "CAP_CHOWN"], caps), "CapPrm:\t0000000000000021\nCapAmb:\t0000000000000000\n");
    // --process takes the place of all flags.
    let file = place.dir.join("process.json");
    let process = json!({ "user": { "uid": 7, "gid": 8 }, "args": ["sh", "-c", "id -u; echo $B"], "cwd": "/", "env": ["PATH=/bin", "B=c"] });
    std::fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    assert_eq!(place.ok(&["exec", "--process", file.to_str().unwrap(), "x"]), "7\nc\n");
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

#[test]
fn the_limit_of_tasks_is_kept() {
    let place = Place::real();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo not reached";
    place.config(&["sh", "-c", script], |c| c["linux"]["resources"]["pids"]["limit"] = 5.into());
    let answer = place.run(&["--rootless", "true", "run", "x"]);
    if answer.err.contains("linux.resources") {
        eprintln!("skipped, this host has no cgroup for limits: {}", answer.err);
        return;
    }
    assert_eq!(answer.status, 2, "{} {}", answer.out, answer.err);
    assert!(answer.err.contains("can't fork"), "{}", answer.err);
    place.assert_empty();
}

#[test]
fn commands_at_the_same_time() {
    let place = Place::real();
    place.config(&["sleep", "100"], |_| ());
    let all = |args: &[&str], times: usize| -> usize {
        let quiet = || place.command(args).stderr(std::process::Stdio::null()).spawn().unwrap();
        let children: Vec<_> = (0..times).map(|_| quiet()).collect();
        children.into_iter().filter_map(|mut c| c.wait().unwrap().success().then_some(())).count()
    };
    for _ in 0..3 {
        assert_eq!(all(&["create", "x"], 4), 1);
        assert_eq!(all(&["start", "x"], 4), 1);
        assert_eq!(all(&["exec", "x", "true"], 8), 8);
        assert_eq!(all(&["state", "x"], 4), 4);
        assert!(all(&["kill", "x", "KILL"], 4) >= 1);
        // The first may come before the sandbox has ended.
        wait_for(|| place.status("x") == "stopped", || "not stopped".into());
        assert_eq!(all(&["delete", "x"], 4), 1);
        place.assert_empty();
    }
    // Deletes while others still use it.
    place.ok(&["run", "-d", "x"]);
    let mut execs: Vec<_> = (0..4)
        .map(|_| place.command(&["exec", "x", "sleep", "100"]).stderr(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    wait_for(|| place.ok(&["ps", "x"]).lines().count() == 6, || place.ok(&["ps", "x"]));
    place.ok(&["delete", "-f", "x"]);
    for child in &mut execs {
        assert_eq!(child.wait().unwrap().code(), Some(137));
    }
    place.assert_empty();
}

#[test]
fn the_cgroup_ends_with_the_container() {
    let place = Place::real();
    if !host::rustix::process::geteuid().is_root() || std::fs::read_dir("/sys/fs/cgroup").is_err() {
        eprintln!("skipped: only root of a host with /sys/fs/cgroup makes cgroups");
        return;
    }
    let path = place.cgroup();
    place.config(&["sleep", "100"], |c| c["linux"]["cgroupsPath"] = path.clone().into());
    place.ok(&["run", "-d", "x"]);
    assert!(!place.cgroups().is_empty());
    let stats: Value = serde_json::from_str(&place.ok(&["events", "--stats", "x"])).unwrap();
    // The container's own tasks, not those that stockade needs.
    assert_eq!(stats["data"]["pids"]["current"], 1, "{stats}");
    assert_eq!(stats["data"]["stockade"]["platform"]["fresh"], 1, "{stats}");
    place.ok(&["delete", "-f", "x"]);
    assert_eq!(place.cgroups(), Vec::<std::path::PathBuf>::new());
    place.ok(&["create", "x"]);
    place.ok(&["delete", "x"]);
    assert_eq!(place.cgroups(), Vec::<std::path::PathBuf>::new());
    place.assert_empty();
}

/// Those of its IPC and network namespaces, before its first program: `linux.sysctl`.
#[test]
fn knobs_are_set() {
    let place = Place::real();
    let knobs = [
        ("kernel.shm_rmid_forced", "1"),
        ("kernel.sem", "250 256000 100 1024"),
        ("fs.mqueue.msg_max", "200"),
        ("net.ipv4.ip_unprivileged_port_start", "0"),
    ];
    let files: Vec<String> = knobs.iter().map(|(name, _)| format!("/proc/sys/{}", name.replace('.', "/"))).collect();
    place.config(&["sh", "-c", &format!("cat {}", files.join(" "))], |c| {
        c["linux"]["sysctl"] = knobs.iter().map(|(name, value)| (name.to_string(), Value::from(*value))).collect();
    });
    let answer = place.run(&["run", "x"]);
    assert_eq!((answer.status, answer.err.as_str()), (0, ""));
    assert_eq!(answer.out, "1\n250\t256000\t100\t1024\n200\n0\n");
    place.assert_empty();
}

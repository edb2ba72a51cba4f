//! Any process of a sandbox may be killed at any moment: nothing is left behind. And what a stub process holds: no rights, no descriptors, its limits.
//!
//! Neighbour: `main`, which starts sandboxes.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs all checks with a guest that computes for ever in two processes; returns what went wrong.
pub fn all(spin: &Path, mode: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |ok: bool, what: &str| {
        if !ok {
            wrong.push(what.to_string());
        }
    };
    // The tree: the starter, PID 1 in the namespace (the kernel process), and its children.
    for victim in ["kernel", "seed", "zygote", "stub", "first stub"] {
        let mut starter = start(spin, mode);
        let Some(tree) = Tree::find(&starter) else {
            check(false, "the sandbox did not come up");
            let _ = starter.kill();
            continue;
        };
        if victim == "kernel" {
            holds(&tree, mode, &mut check);
        }
        let pid = match victim {
            "kernel" => tree.kernel,
            "seed" => tree.children[0],
            "zygote" => tree.children[1],
            "stub" => tree.children[3],
            _ => tree.children[2],
        };
        // SAFETY: a signal to a process that this test started.
        unsafe { libc::kill(pid, 9) };
        let until = Instant::now() + Duration::from_secs(10);
        let mut left = tree.left();
        if victim == "stub" {
            // Only this process goes; the sandbox goes on.
            while exists(pid) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            check(!exists(pid) && exists(tree.children[2]), "a killed stub takes only its process along");
            // SAFETY: as above.
            unsafe { libc::kill(tree.kernel, 9) };
        }
        while !left.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            left = tree.left();
        }
        check(left.is_empty(), &format!("{victim} killed: {left:?} are left"));
        let _ = starter.wait();
    }
    wrong
}

fn start(spin: &Path, mode: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("run-guest")
        .args([spin.as_os_str(), mode.as_ref()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

struct Tree {
    kernel: i32,
    /// Seed, zygote, first stub, second stub: in the order of their start.
    children: Vec<i32>,
}

impl Tree {
    /// Waits until all are there.
    fn find(starter: &Child) -> Option<Tree> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let parents = parents();
            let of = |parent: i32| {
                let mut v: Vec<i32> = parents.iter().filter(|p| *p.1 == parent).map(|p| *p.0).collect();
                v.sort();
                v
            };
            if let [kernel] = of(starter.id() as i32)[..] {
                let children = of(kernel);
                if children.len() >= 4 {
                    std::thread::sleep(Duration::from_millis(100));
                    return Some(Tree { kernel, children });
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn left(&self) -> Vec<i32> {
        self.children.iter().chain([&self.kernel]).copied().filter(|p| exists(*p)).collect()
    }
}

fn exists(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "))
}

fn parents() -> HashMap<i32, i32> {
    let mut map = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(parent) = stat.rsplit(") ").next().and_then(|r| r.split(' ').nth(1)?.parse().ok()) else { continue };
        map.insert(pid, parent);
    }
    map
}

/// What the host says about stub and zygote.
fn holds(tree: &Tree, mode: &str, check: &mut impl FnMut(bool, &str)) {
    for (number, pid) in tree.children.iter().enumerate().skip(1).take(3) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap_or_default()
                .trim()
                .trim_start_matches(':')
                .trim()
                .to_string()
        };
        check(field("CapEff").trim_start_matches('0').is_empty(), "a stub has effective capabilities");
        check(field("CapPrm").trim_start_matches('0').is_empty(), "a stub has permitted capabilities");
        check(field("CapBnd").trim_start_matches('0').is_empty(), "a stub could gain capabilities");
        check(field("NoNewPrivs") == "1", "a stub could gain privileges");
        check(field("Seccomp") == "2", "a stub has no filter");
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let files: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
        // Its own memory file; without a listener, the doorbell's socket and, in stubs, the one by which files come.
        let sockets = if mode != "--nolistener" { 0 } else { number.min(2) };
        let starts = |file: &&std::path::PathBuf, with: &str| file.to_string_lossy().starts_with(with);
        let mailboxes = files.iter().filter(|file| starts(file, "/memfd:mailboxes")).count();
        let ok = mailboxes <= 1 && files.iter().filter(|file| starts(file, "socket:")).count() == sockets;
        let ok = ok && files.len() == sockets + mailboxes;
        check(ok, &format!("a stub holds descriptors: {files:?}"));
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let limit = |name: &str, value: &str| {
            limits.lines().any(|l| l.starts_with(name) && l.split_whitespace().any(|w| w == value))
        };
        check(limit("Max open files", "20"), "a stub may open more than 20 files");
        check(limit("Max core file size", "1"), "a stub may dump core");
        let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default();
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let expected = if number == 1 { own.trim() } else { "1000" };
        check(score.trim() == expected, "stubs are not the first to go when memory runs out, or zygotes are");
    }
}

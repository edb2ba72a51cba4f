//! Few descriptors on the host: however many processes guests make, there are some left for their files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::os::unix::fs::MetadataExt;

use common::Place;
use common::talk::{Talk, mounts};

#[test]
fn processes_leave_descriptors_for_files() {
    let place = Place::real();
    // Only what the shell does by itself once it cannot fork; a file of that size has a descriptor of the host.
    let script = r#"
        cd /dev/shm
        (i=0; while sleep 100 & do i=$((i+1)); echo $i > count; done) 2> why
        read count < count; read why < why
        echo "$count: $why"
        for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            printf "%20000s" x > file$n || echo "no room for $n"
        done
        exit 0"#;
    place.config(&["sh", "-c", script], |_| ());
    let (status, out, err) = place.shell("ulimit -n 400; $RUN");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let (count, why) = out.split_once(": ").unwrap();
    assert!((100..200).contains(&count.parse::<u32>().unwrap()), "{out}");
    assert!(why.ends_with("can't fork: Resource temporarily unavailable\n"), "{out}");
    place.assert_empty();
}

#[test]
fn whoever_dies_while_it_is_refused_a_fork_leaves_no_child() {
    let place = Place::real();
    // A fork bomb at its limit: nearly all that it is made of waits for a refusal.
    let script = r#"
import os, signal, time
def processes(): return sum(name.isdigit() for name in os.listdir("/proc"))
def fork(): # the host may still be ending the last bomb's processes
    deadline = time.monotonic() + 10
    while True:
        try: return os.fork()
        except BlockingIOError:
            if time.monotonic() > deadline: raise
            time.sleep(0.01)
before = processes()
for round in range(8):
    bomb = fork()
    if bomb == 0:
        os.setpgid(0, 0)
        while True:
            try: os.fork()
            except OSError: pass
    deadline = time.monotonic() + 20
    while processes() < 150 and time.monotonic() < deadline: time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(bomb, signal.SIGKILL)
    try:
        while True: os.waitpid(-1, 0) # this is PID 1
    except ChildProcessError: pass
    while processes() > before and time.monotonic() < deadline: time.sleep(0.01)
    print(processes() - before, "left")
"#;
    std::fs::create_dir(place.dir.join("v")).unwrap();
    place.config(&["python3", "-c", script], |c| c["mounts"] = mounts(&place));
    let (status, out, err) = place.shell("ulimit -n 400; $RUN");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, "0 left\n".repeat(8));
    place.assert_empty();
}

#[test]
fn memfds_leave_descriptors_for_files() {
    let place = Place::real();
    let script = r#"
import os
made = []
try:
    while True: made.append(os.memfd_create("x"))
except OSError as e: print(e.strerror, len(made) > 100)
for n in range(20):
    with open(f"/dev/shm/file{n}", "w") as f: f.write("x" * 20000)
for fd in made: os.close(fd)
os.memfd_create("again")
"#;
    std::fs::create_dir(place.dir.join("v")).unwrap();
    place.config(&["python3", "-c", script], |c| c["mounts"] = mounts(&place));
    let (status, out, err) = place.shell("ulimit -n 400; $RUN");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, "Too many open files in system True\n");
    place.assert_empty();
}

#[test]
fn a_file_that_a_stub_reads_is_closed_with_it() {
    let place = Place::real();
    let script = r#"
import os
for round in range(3):
    with open("/v/file", "wb") as f: f.write(bytes(300000))
    fd = os.open("/v/file", os.O_RDONLY)
    wrong = sum(os.pread(fd, 65536, n) != bytes(65536) for n in range(200))
    print(wrong, "wrong", flush=True)
    input()
    os.close(fd)
    os.unlink("/v/file")
    print("gone", flush=True)
    input()
"#;
    let folder = place.dir.join("v");
    std::fs::create_dir(&folder).unwrap();
    place.config(&["python3", "-c", script], |c| c["mounts"] = mounts(&place));
    let file = folder.join("file");
    // How many processes of the machine hold the file with this number.
    let holders = |inode: u64| {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let holds = |process: &std::fs::DirEntry| {
            let mut files = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            files.any(|fd| std::fs::metadata(fd.path()).is_ok_and(|file| file.is_file() && file.ino() == inode))
        };
        processes.filter(holds).count()
    };
    let mut guest = Talk::start(&place, &[]);
    for _ in 0..3 {
        assert_eq!(guest.hear(), "0 wrong");
        let inode = std::fs::metadata(&file).unwrap().ino();
        assert_eq!(holders(inode), 3, "the gofer, the kernel process and the stub have it");
        assert_eq!(guest.ask(""), "gone");
        common::wait_for(|| holders(inode) == 0, || format!("{} processes hold the file", holders(inode)));
        guest.say("");
    }
    guest.end();
    place.assert_empty();
}

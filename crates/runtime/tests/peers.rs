//! Files that the host changes too, FIFOs and unix sockets between the container and host processes: `--file-access`, `--host-fifo`, `--host-uds`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::talk::{Talk, mounts};
use common::{Place, wait_for};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A container with a host folder at /v; `script` runs in it.
fn prepared(script: &str) -> (Place, PathBuf) {
    let place = Place::real();
    let volume = place.dir.join("v");
    std::fs::create_dir(&volume).unwrap();
    std::fs::create_dir(place.dir.join("b/rootfs/v")).unwrap();
    configure(&place, &["busybox", "sh", "-ec", script]);
    (place, volume)
}

fn configure(place: &Place, args: &[&str]) {
    place.config(args, |c| c["mounts"] = mounts(place));
}

const SHELL: &str = "while read -r line; do eval \"$line\" 2>&1 || echo failed; done";

#[test]
fn with_shared_access_the_hosts_changes_are_seen() {
    let (place, volume) = prepared(SHELL);
    std::fs::create_dir(volume.join("dir")).unwrap();
    std::fs::write(volume.join("dir/file"), "one\n").unwrap();
    let mut talk = Talk::start(&place, &["--file-access-mounts=shared"]);
    assert_eq!(talk.ask("cat /v/dir/file"), "one");
    assert_eq!(talk.ask("cat /v/dir/new || true"), "cat: can't open '/v/dir/new': No such file or directory");
    // Longer, then another file by the same name.
    std::fs::write(volume.join("dir/file"), "one and more\n").unwrap();
    assert_eq!(talk.ask("busybox stat -c %s /v/dir/file; cat /v/dir/file >/dev/null"), "13");
    std::fs::write(volume.join("other"), "two\n").unwrap();
    std::fs::rename(volume.join("other"), volume.join("dir/file")).unwrap();
    assert_eq!(talk.ask("cat /v/dir/file"), "two");
    std::fs::write(volume.join("dir/new"), "new\n").unwrap();
    assert_eq!(talk.ask("cat /v/dir/new"), "new");
    assert_eq!(talk.ask("ls /v/dir | busybox tr '\\n' ' '; echo"), "file new");
    std::fs::remove_file(volume.join("dir/new")).unwrap();
    assert_eq!(talk.ask("[ -e /v/dir/new ] || echo gone"), "gone");
    // A folder that the shell works in is moved, and its name taken by another one.
    assert_eq!(talk.ask("cd /v/dir; echo $PWD"), "/v/dir");
    std::fs::rename(volume.join("dir"), volume.join("moved")).unwrap();
    std::fs::create_dir(volume.join("dir")).unwrap();
    std::fs::write(volume.join("dir/file"), "other\n").unwrap();
    assert_eq!(talk.ask("cat file"), "two");
    assert_eq!(talk.ask("cat /v/dir/file"), "other");
    assert_eq!(talk.ask("cat /v/moved/file"), "two");
    // And the container's own, which the host sees.
    assert_eq!(
        talk.ask("cd /; echo own > /v/dir/own; busybox mkdir /v/dir/d; busybox mv /v/dir/own /v/dir/d/own; echo ok"),
        "ok"
    );
    assert_eq!(std::fs::read_to_string(volume.join("dir/d/own")).unwrap(), "own\n");
    assert_eq!(talk.ask("busybox rm -r /v/dir; ls /v"), "moved");
    talk.end();
    place.assert_empty();
}

#[test]
fn an_overlay_and_shared_access_do_not_go_together() {
    let (place, _) = prepared("true");
    place.config(&["true"], |c| c["root"]["readonly"] = false.into());
    let words = ["--overlay2", "--file-access=shared", "rootfs"];
    place.fails(&["--overlay2=root:memory", "--file-access=shared", "run", "x"], 1, &words);
    place.fails(
        &["do", "--file-access=shared", "--rootfs", "rootfs", "true"],
        1,
        &["--file-access=shared", "--overlay2=none"],
    );
    configure(&place, &["true"]);
    let words = ["--overlay2", "--file-access-mounts=shared", "/v"];
    place.fails(&["--overlay2=all:memory", "--file-access-mounts=shared", "run", "x"], 1, &words);
    place.assert_empty();
}

#[test]
fn fifos_lead_to_the_host_where_that_is_allowed() {
    let (place, volume) = prepared(SHELL);
    let fifo = |name: &str| assert!(Command::new("mkfifo").arg(volume.join(name)).status().unwrap().success());
    fifo("in");
    fifo("out");
    let mut talk = Talk::start(&place, &["--host-fifo=open"]);
    // Inside reads, and opens first. The line comes when cat has closed the FIFO: it must not get the next writer's, too.
    let path = volume.join("in");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::fs::write(path, "from the host\n").unwrap();
    });
    assert_eq!(talk.ask("echo $(cat /v/in)"), "from the host");
    writer.join().unwrap();
    // Inside reads, the host opens first.
    let path = volume.join("in");
    let writer = std::thread::spawn(move || std::fs::write(path, "again\n").unwrap());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(talk.ask("echo $(cat /v/in)"), "again");
    writer.join().unwrap();
    // Inside writes, both ways round; the line that comes back says that the open has ended.
    let path = volume.join("out");
    let reader = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        std::fs::read_to_string(path).unwrap()
    });
    assert_eq!(talk.ask("echo to the host > /v/out; echo written"), "written");
    assert_eq!(reader.join().unwrap(), "to the host\n");
    let path = volume.join("out");
    let reader = std::thread::spawn(move || std::fs::read(path).unwrap().len());
    std::thread::sleep(std::time::Duration::from_millis(50));
    // More than a pipe takes at once.
    assert_eq!(talk.ask("busybox dd if=/dev/zero of=/v/out bs=1000 count=300 2>/dev/null; echo written"), "written");
    assert_eq!(reader.join().unwrap(), 300_000);
    // A signal ends an open that waits.
    assert_eq!(talk.ask("busybox timeout -s INT 0.2 cat /v/in; echo $?"), "130");
    // One that is made inside is the host's, too.
    assert_eq!(talk.ask("busybox mkfifo /v/mine; echo made"), "made");
    let path = volume.join("mine");
    let reader = std::thread::spawn(move || std::fs::read_to_string(path).unwrap());
    assert_eq!(talk.ask("echo x > /v/mine; echo written"), "written");
    assert_eq!(reader.join().unwrap(), "x\n");
    talk.end();
    // Without the flag a FIFO is the container's own affair: its two ends meet inside.
    let mut talk = Talk::start(&place, &[]);
    assert_eq!(talk.ask("(echo inside > /v/in) & cat /v/in"), "inside");
    talk.end();
    place.assert_empty();
}

const CONNECT: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try: s.connect('/v/host')
except OSError as e: print(e.strerror); sys.exit()
s.sendall(b'x' * 300000 + b'!'); print(s.makefile().readline().strip()); print(s.getpeername())
try: socket.send_fds(s, [b'a'], [0])
except OSError as e: print(e.strerror)
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
d.sendto(b'one', '/v/datagram'); d.connect('/v/datagram'); d.send(b'two')
";

#[test]
fn sockets_of_the_host_are_reached_where_that_is_allowed() {
    let (place, volume) = prepared("");
    configure(&place, &["/bin/python3", "-c", CONNECT]);
    let listener = UnixListener::bind(volume.join("host")).unwrap();
    let datagrams = UnixDatagram::bind(volume.join("datagram")).unwrap();
    for flag in ["--host-uds=none", "--host-uds=create"] {
        assert_eq!(place.ok(&[flag, "run", "x"]), "Connection refused\n", "{flag}");
    }
    for flag in ["--host-uds=open", "--host-uds=all"] {
        let listener = listener.try_clone().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::new();
            while got.last() != Some(&b'!') {
                let mut buffer = [0; 5000];
                let count = stream.read(&mut buffer).unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(format!("{} bytes\n", got.len()).as_bytes()).unwrap();
        });
        let answer = place.run(&[flag, "run", "x"]);
        assert_eq!(answer.out, "300001 bytes\n/v/host\nOperation not supported\n", "{flag}: {}", answer.err);
        server.join().unwrap();
        let mut buffer = [0; 10];
        assert_eq!((datagrams.recv(&mut buffer).unwrap(), &buffer[..3]), (3, b"one".as_slice()));
        assert_eq!((datagrams.recv(&mut buffer).unwrap(), &buffer[..3]), (3, b"two".as_slice()));
    }
    place.assert_empty();
}

const LISTEN: &str = "
import socket, os, threading
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
os.umask(0o027); s.bind('/v/guest'); s.listen(5)
print(oct(os.stat('/v/guest').st_mode), s.getsockname(), flush=True)
c, _ = s.accept()
c.sendall(c.recv(100).upper()); c.close()
def inside():
    i = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); i.connect('/v/guest'); i.sendall(b'inside'); i.close()
t = threading.Thread(target=inside); t.start()
c, _ = s.accept(); print(c.recv(100).decode()); t.join()
";

#[test]
fn sockets_of_the_container_are_reached_by_the_host_where_that_is_allowed() {
    let (place, volume) = prepared("");
    configure(&place, &["/bin/python3", "-c", LISTEN]);
    for flag in ["--host-uds=create", "--host-uds=all"] {
        let child = place.command(&[flag, "run", "x"]).stdout(Stdio::piped()).spawn().unwrap();
        let path = volume.join("guest");
        wait_for(
            || {
                UnixStream::connect(&path).is_ok_and(|mut stream| {
                    stream.write_all(b"hello").unwrap();
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    text == "HELLO"
                })
            },
            || format!("{flag}: nobody answers"),
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "0o140750 /v/guest\ninside\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        std::fs::remove_file(&path).unwrap();
    }
    // Without it the name is there, and nobody of the host behind it.
    let mut child = place.command(&["--host-uds=open", "run", "x"]).stdout(Stdio::piped()).spawn().unwrap();
    let path = volume.join("guest");
    wait_for(|| path.exists(), || "no name".into());
    assert!(UnixStream::connect(&path).is_err());
    place.ok(&["kill", "x", "KILL"]);
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn bad_values_are_named() {
    let (place, _) = prepared("true");
    for (flag, words) in [
        ("--file-access=both", ["both", "--file-access"]),
        ("--file-access-mounts=x", ["x", "--file-access-mounts"]),
        ("--host-fifo=create", ["create", "--host-fifo"]),
        ("--host-uds=yes", ["yes", "--host-uds"]),
    ] {
        let answer = place.run(&[flag, "run", "x"]);
        assert_ne!(answer.status, 0);
        assert!(words.iter().all(|word| answer.err.contains(word)), "{flag}: {}", answer.err);
    }
}

#[test]
fn debug_tells_what_is_mounted_where_and_how() {
    let (place, volume) = prepared("while :; do sleep 100; done");
    place.config(&["busybox", "sh", "-ec", "busybox mkdir /tmp/x; busybox mount --bind /v /tmp/x; while :; do sleep 100; done"], |c| {
        c["root"]["readonly"] = false.into();
        c["process"]["capabilities"] = json!({ "bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"] });
        c["mounts"] = json!([
            { "destination": "/v", "type": "bind", "source": volume, "options": ["rbind", "ro", "nosuid"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] },
        ]);
    });
    place.ok(&["--overlay2=root:memory,size=9m", "--file-access-mounts=shared", "run", "-d", "x"]);
    wait_for(|| place.ok(&["debug", "--mounts", "x"]).contains("/tmp/x"), || place.ok(&["debug", "--mounts", "x"]));
    let text = place.ok(&["debug", "--mounts", "x"]);
    let line = |at: &str| text.lines().find(|line| line.split_whitespace().next() == Some(at)).unwrap().to_string();
    let root = place.dir.join("b/rootfs").display().to_string();
    for (at, words) in [
        ("/", vec!["overlay", "rw", &root, "the container's alone", "changes to memory"]),
        (
            "/v",
            vec![
                "gofer",
                "ro,nosuid",
                volume.to_str().unwrap(),
                "shared with the host",
                "opened by the gofer",
                "changes to none",
            ],
        ),
        ("/tmp", vec!["tmpfs", "size=1024k", "the sandbox's own"]),
        ("/tmp/x", vec!["gofer", volume.to_str().unwrap()]),
        ("/proc", vec!["proc", "the sandbox's own"]),
    ] {
        assert!(words.iter().all(|word| line(at).contains(word)), "{words:?}\n{text}");
    }
    let list: serde_json::Value = serde_json::from_str(&place.ok(&["debug", "--mounts", "-f", "json", "x"])).unwrap();
    let of = |at: &str| list.as_array().unwrap().iter().find(|m| m["destination"] == at).unwrap().clone();
    assert_eq!(
        of("/")["host"],
        json!({ "path": root, "access": "exclusive", "opens": "kernel", "changes": "memory", "size": 9 << 20 })
    );
    assert_eq!(of("/v")["host"]["access"], "shared");
    assert_eq!((of("/v")["type"].clone(), of("/tmp")["host"].clone()), (json!("gofer"), json!(null)));
    place.ok(&["delete", "-f", "x"]);
    place.fails(&["debug", "--mounts", "x"], 1, &["container", "does not exist"]);
}

//! Standard streams and other descriptors that the caller gives a container: the host's own, with the offset and the flags that they have there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;

/// What the guest `script` and the host write in turn to a file that is opened by `to`; the file, and the guest's errors.
fn written(to: &str, before: &str, script: &str) -> (String, String) {
    let place = Place::real();
    place.config(&["sh", "-c", script], |_| ());
    let file = place.dir.join("file");
    std::fs::write(&file, before).unwrap();
    let lines = format!("(echo first; $RUN; echo last) {to} {}", file.display());
    let (status, _, err) = place.shell(&lines);
    assert_eq!(status, 0, "{err}");
    place.assert_empty();
    (std::fs::read_to_string(&file).unwrap(), err)
}

#[test]
fn a_file_shares_its_offset() {
    assert_eq!(written(">", "old", "echo guest; echo more").0, "first\nguest\nmore\nlast\n");
    // Children of the guest, and a seek, move it for all.
    assert_eq!(written(">", "", "(echo a); echo b | cat; echo c >&2").0, "first\na\nb\nlast\n");
    assert_eq!(
        written("1<>", "0123456789abcdef", "dd bs=1 seek=2 count=1 conv=notrunc if=/bin/sh 2> /dev/null; echo x")
            .0
            .len(),
        16
    );
}

#[test]
fn a_file_that_is_appended_to() {
    assert_eq!(written(">>", "old\n", "echo guest; echo more").0, "old\nfirst\nguest\nmore\nlast\n");
    // Two writers with descriptions of their own: nothing is lost.
    let place = Place::real();
    place.config(&["sh", "-c", "i=0; while [ $i -lt 100 ]; do echo guest; i=$((i+1)); done"], |_| ());
    let script = "$RUN >> log & for i in $(seq 100); do echo host; sleep 0.001; done >> log; wait $!";
    assert_eq!(place.shell(script).0, 0);
    let log = std::fs::read_to_string(place.bundle().join("log")).unwrap();
    assert_eq!((log.len(), log.matches("guest\n").count(), log.matches("host\n").count()), (1100, 100, 100));
}

#[test]
fn a_file_is_cut_and_measured() {
    let (text, err) = written("1<>", "", "wc -c < /proc/self/fd/1 >&2; echo more; wc -c < /proc/self/fd/1 >&2");
    assert_eq!((text.as_str(), err.as_str()), ("first\nmore\nlast\n", "6\n11\n"));
    // dd cuts a file where it begins to write.
    assert_eq!(written("1<>", "0123456789", "dd bs=1 seek=0 count=0 2> /dev/null").0, "first\nlast\n");
}

#[test]
fn null_zero_and_full_are_the_hosts() {
    let place = Place::real();
    place.config(&["sh", "-c", "echo x; echo $? >&2; exec 3>&1; ls -l /proc/self/fd/3 >&2"], |_| ());
    let (status, out, err) = place.shell("$RUN > /dev/null");
    assert!(status == 0 && out.is_empty() && err.starts_with("0\n") && err.ends_with("-> /dev/null\n"), "{err}");
    place.config(&["sh", "-c", "echo x; echo $? >&2"], |_| ());
    let (_, _, err) = place.shell("$RUN > /dev/full");
    assert!(err.contains("No space left on device") && err.ends_with("1\n"), "{err}");
    place.config(&["head", "-c", "5"], |_| ());
    assert_eq!(place.shell("$RUN < /dev/zero").1, "\0\0\0\0\0");
    place.assert_empty();
}

#[test]
fn pipes_and_sockets() {
    let place = Place::real();
    place.config(&["sh", "-c", "cat; ls -l /proc/$$/fd/0 | grep -o 'pipe:'; echo > /proc/self/fd/1"], |_| ());
    assert_eq!(place.shell("(echo a; sleep 0.1; echo b) | $RUN | cat").1, "a\nb\npipe:\n\n");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    place.config(&["sh", "-c", "echo through a socket"], |_| ());
    let mut command = place.command(&["run", "x"]);
    let status = command.stdout(std::os::fd::OwnedFd::from(theirs)).status().unwrap();
    drop(command);
    assert!(status.success());
    assert_eq!(std::io::read_to_string(ours).unwrap(), "through a socket\n");
    place.assert_empty();
}

#[test]
fn preserved_descriptors() {
    let place = Place::real();
    place.config(&["sh", "-c", "cat <&3; echo to four >&4; ls /proc/self/fd"], |_| ());
    let files = "echo three > three; exec 3< three 4> four;";
    let list = |count: &str| place.shell(&format!("{files} $RUN {count}"));
    let (status, out, err) = place.shell(&format!("{files} ${{RUN% x}} --preserve-fds 2 x; cat four"));
    assert_eq!((status, out.as_str()), (0, "three\n0\n1\n2\n3\n4\n5\nto four\n"), "{err}");
    // Not asked for: not there.
    let (status, _, err) = list("");
    assert!(status == 0 && err.contains("file descriptor"), "{status} {err}");
    place.fails(&["run", "--preserve-fds", "1", "x"], 1, &["--preserve-fds", "descriptor 3 is not open"]);
    place.fails(&["run", "--preserve-fds", "49", "x"], 1, &["at most 48"]);
    place.assert_empty();
    // exec, and create with start.
    place.config(&["sh", "-c", "cat <&3 >&4; sleep 100"], |_| ());
    let script = format!(
        "{files} ${{RUN% run x}} create --preserve-fds 2 x > /dev/null 2>&1 && ${{RUN% run x}} start x && until [ -s four ]; do sleep 0.01; done && echo again > three && exec 3< three &&
        ${{RUN% run x}} exec --preserve-fds 1 x sh -c 'cat <&3; echo >&4'; echo $?; cat four"
    );
    let (status, out, err) = place.shell(&script);
    assert_eq!((status, out.as_str()), (0, "again\n1\nthree\n"), "{err}");
    place.ok(&["delete", "-f", "x"]);
    place.assert_empty();
}

//! What the host, or somebody there, does below a running container's feet: folders that become links, files that shrink, folders that go, a gofer that dies.
//! The container gets errors of its own, and nothing that it was not given.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::talk::{Talk, mounts};
use common::{Place, wait_for};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So many that some are seen first as folders, and some as links: with exclusive access that is how they are remembered. The script has the number, too.
const FOLDERS: usize = 20;
const SECRET: &str = "what the container was not given";

/// A container that runs a Python script, with a host folder at /v.
fn prepared(script: &str) -> (Place, PathBuf) {
    let place = Place::real();
    let volume = place.dir.join("v");
    std::fs::create_dir(&volume).unwrap();
    place.config(&["python3", "-c", script], |c| {
        c["mounts"] = mounts(&place);
        c["root"]["readonly"] = false.into();
    });
    (place, volume)
}

/// A thread of the host that puts links in folders' places and back, as fast as it can.
fn swapping(pairs: &[(PathBuf, PathBuf)], work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (a, b) in pairs.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                let flags = host::rustix::fs::RenameFlags::EXCHANGE;
                let cwd = host::rustix::fs::CWD;
                host::rustix::fs::renameat_with(cwd, a, cwd, b, flags).unwrap();
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nothing_outside_opens_while_folders_become_links() {
    let script = "
import os, time
FOLDERS = 20
seen, end = set(), time.time() + 2
def tried(what):
    try: seen.add(what())
    except OSError as e: seen.add(e.errno)
def write(name):
    with open(name, 'w') as f: f.write('written')
n = 0
while time.time() < end:
    n += 1
    d = '/v/d%d' % (n % FOLDERS)
    tried(lambda: open(d + '/f').read())
    tried(lambda: ' '.join(name for name in os.listdir(d) if name == 'only-outside'))
    tried(lambda: open(d + '/only-outside').read())
    tried(lambda: open(d + '/deep/f').read())
    tried(lambda: write(d + '/new'))
    tried(lambda: write(d + '/f2'))
    tried(lambda: os.unlink(d + '/only-outside'))
    tried(lambda: os.mkdir(d + '/made'))
    tried(lambda: os.rmdir(d + '/made'))
    tried(lambda: os.chmod(d + '/f', 0o600 + n % 8))
    tried(lambda: os.symlink('x', d + '/link'))
    tried(lambda: os.rename(d + '/f', d + '/f'))
    tried(lambda: os.stat(d + '/../secret').st_size)
print(sorted(map(str, seen)))
";
    let modes: [&[&str]; 3] = [&[], &["--directfs=false"], &["--file-access-mounts=shared"]];
    for flags in modes {
        let (place, volume) = prepared(script);
        let outside = place.dir.join("outside");
        std::fs::create_dir_all(outside.join("deep")).unwrap();
        let folder = |n: usize| volume.join(format!("d{n}"));
        let link = |n: usize| volume.join(format!("link{n}"));
        for n in 0..FOLDERS {
            std::fs::create_dir_all(folder(n).join("deep")).unwrap();
            for name in ["f", "deep/f"] {
                std::fs::write(folder(n).join(name), "inside").unwrap();
            }
            std::os::unix::fs::symlink("../outside", link(n)).unwrap();
        }
        let pairs: Vec<(PathBuf, PathBuf)> = (0..FOLDERS).map(|n| (folder(n), link(n))).collect();
        for path in ["outside/f", "outside/only-outside", "outside/deep/f", "secret"] {
            std::fs::write(place.dir.join(path), SECRET).unwrap();
        }
        let before = std::fs::metadata(&outside).unwrap();
        let mut answer = None;
        swapping(&pairs, || {
            answer = Some(place.run(&[flags, &["run", "x"]].concat()));
        });
        let answer = answer.unwrap();
        assert_eq!(answer.status, 0, "{flags:?}: {}", answer.err);
        assert!(!answer.out.contains(SECRET) && !answer.out.contains("only-outside"), "{flags:?}: {}", answer.out);
        assert!(answer.out.contains("'inside'"), "{flags:?}: nothing was read: {}", answer.out);
        let after = std::fs::metadata(&outside).unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap(), "{flags:?}: names came or went");
        for path in ["outside/f", "outside/only-outside", "outside/deep/f", "secret"] {
            assert_eq!(std::fs::read_to_string(place.dir.join(path)).unwrap(), SECRET, "{flags:?}");
        }
    }
}

#[test]
fn a_file_that_the_host_cuts_is_sigbus_to_who_maps_it() {
    let script = "
import mmap, os, sys
f = open('/v/f', 'rb')
m = mmap.mmap(f.fileno(), 65536, prot=mmap.PROT_READ)
print('mapped', m[50000], flush=True)
sys.stdin.readline()
pid = os.fork()
if pid == 0:
    m[50000]
    os._exit(0)
print('a child died of', os.waitpid(pid, 0)[1] & 127, flush=True)
r, w = os.pipe()
try: print(os.write(w, memoryview(m)[50000:50100]))
except OSError as e: print('a call said', e.errno, flush=True)
print('the rest has', m[0], os.path.exists('/v/f'), flush=True)
";
    for flags in [&[][..], &["--directfs=false"], &["--file-access-mounts=shared"], &["--overlay2=all:memory"]] {
        let (place, volume) = prepared(script);
        std::fs::write(volume.join("f"), vec![7; 65536]).unwrap();
        let mut talk = Talk::start(&place, flags);
        assert_eq!(talk.hear(), "mapped 7");
        std::fs::File::options().write(true).open(volume.join("f")).unwrap().set_len(4096).unwrap();
        talk.say("");
        let heard: Vec<String> = (0..3).map(|_| talk.hear()).collect();
        assert_eq!(heard, ["a child died of 7", "a call said 14", "the rest has 7 True"], "{flags:?}");
        talk.end();
    }
}

#[test]
fn a_folder_that_the_host_removes_is_gone_and_others_stay() {
    let script = "
import os, sys
os.chdir('/v/sub')
f, d = open('f'), os.open('/v/sub', os.O_RDONLY)
print('there', flush=True)
sys.stdin.readline()
def tried(what):
    try: what()
    except OSError as e: return e.errno
    return 'ok'
print('open', f.read(), flush=True)
print('made', tried(lambda: open('new', 'w')), tried(lambda: os.mkdir('/v/sub/deep')), tried(lambda: os.rename('f', 'g')), flush=True)
print('asked', *[tried(what) in ('ok', 2, 116) for what in (
    lambda: os.listdir('.'), lambda: os.listdir(d), lambda: os.stat('f'), lambda: os.stat('/v/sub/none'), lambda: os.stat('.'))], flush=True)
print('other', tried(lambda: open('/v/other/new', 'w')), os.listdir('/v/other'), flush=True)
";
    for flags in [&[][..], &["--directfs=false"], &["--file-access-mounts=shared"]] {
        let (place, volume) = prepared(script);
        for dir in ["sub", "other"] {
            std::fs::create_dir(volume.join(dir)).unwrap();
        }
        std::fs::write(volume.join("sub/f"), "text").unwrap();
        let mut talk = Talk::start(&place, flags);
        assert_eq!(talk.hear(), "there");
        std::fs::remove_dir_all(volume.join("sub")).unwrap();
        talk.say("");
        let heard: Vec<String> = (0..4).map(|_| talk.hear()).collect();
        assert_eq!(heard[0], "open text", "{flags:?}");
        let errors: Vec<&str> = heard[1].split(' ').collect();
        assert!(errors[1..].iter().all(|errno| matches!(*errno, "2" | "116")), "{flags:?}: {}", heard[1]);
        assert_eq!(heard[2], "asked True True True True True", "{flags:?}");
        assert_eq!(heard[3], "other ok ['new']", "{flags:?}");
        talk.end();
    }
}

fn kill_gofer(place: &Place) {
    let gofers: Vec<i32> = place
        .processes()
        .into_iter()
        .filter(|(_, line)| line.starts_with("stockade gofer"))
        .map(|(pid, _)| pid)
        .collect();
    assert_eq!(gofers.len(), 1);
    host::signals::kill(gofers[0], 9);
}

#[test]
fn a_container_ends_with_its_gofer_and_says_why() {
    let place = Place::real();
    place.config(&["sleep", "100"], |_| ());
    let log = place.dir.join("log");
    place.ok(&["--log", log.to_str().unwrap(), "run", "-d", "x"]);
    kill_gofer(&place);
    wait_for(|| place.status("x") == "stopped", || "the container lives on".into());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("the gofer of container x is gone") && said.contains("is killed"), "{said}");
    place.ok(&["delete", "x"]);
    place.assert_empty();
    // In the foreground the command says it.
    let child = place.command(&["run", "x"]).spawn().unwrap();
    wait_for(
        || place.states().join("x/state.json").exists() && place.status("x") == "running",
        || "not running".into(),
    );
    std::thread::sleep(Duration::from_millis(50));
    kill_gofer(&place);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("gofer"), "{said}");
    place.assert_empty();
}

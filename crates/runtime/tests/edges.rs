//! Host folders at their limits, and beyond: names and paths as long as they get, a host whose disk fails.
//! What a script says of a folder inside must be what it says of one on the host.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use common::talk::mounts;
use std::process::{Child, Command, Stdio};

const MODES: [&[&str]; 3] = [&[], &["--directfs=false"], &["--file-access-mounts=shared"]];

/// Runs a script in a container that has the place's folder `v` at /v; a minute and more, on a busy machine.
fn inside(place: &Place, flags: &[&str], script: &str) -> String {
    place.config(&["python3", "-c", script, "/v"], |c| {
        c["mounts"] = mounts(place);
        c["root"]["readonly"] = false.into();
    });
    let output = place.command(&[flags, &["run", "x"]].concat()).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn on_the_host(place: &Place, script: &str) -> String {
    let output = Command::new("python3").args(["-c", script]).arg(place.dir.join("v")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const NAMES: &str = "
import os, sys
base = sys.argv[1]
os.chdir(base)
def tried(name, what):
    try: print(name, what() or 'ok')
    except OSError as e: print(name, e.errno)
def write(name, text='x'):
    with open(name, 'w') as f: f.write(text)
for length in (254, 255, 256, 4095, 5000):
    name = 'n' * length
    tried(f'{length} absent', lambda: os.stat(name))
    tried(f'{length} mkdir', lambda: os.mkdir(name))
    tried(f'{length} file', lambda: write('f' * length))
    tried(f'{length} read', lambda: open('f' * length).read())
    tried(f'{length} rename', lambda: os.rename('f' * length, 'g' * length))
    tried(f'{length} link', lambda: os.link('g' * length, 'h' * length))
    tried(f'{length} symlink', lambda: os.symlink('target', 's' * length))
    tried(f'{length} readlink', lambda: os.readlink('s' * length))
    tried(f'{length} fifo', lambda: os.mkfifo('p' * length))
    tried(f'{length} below', lambda: write(name + '/x'))
    tried(f'{length} through', lambda: os.stat(name + '/' + 'n' * length))
print(sorted((len(n), n[0]) for n in os.listdir('.')))
for name in os.listdir('.'):
    if name[0] != 'n': os.unlink(name)
tried('utf-8', lambda: write('\\u00fc' * 127 + 'x'))
tried('utf-8 256', lambda: write('\\u00fc' * 128))
# A path of just as many bytes as there may be, and of one more: dots and slashes count, too.
os.mkdir('d')
def path(length): return './' * ((length - 3) // 2) + ('/' if length % 2 == 0 else '') + 'd/f'
for length in (4094, 4095, 4096, 4097, 10000):
    p = path(length)
    assert len(p) == length
    tried(f'path {length}', lambda: write(p))
    tried(f'path {length} stat', lambda: os.stat(p).st_size)
    tried(f'path {length} rename', lambda: os.rename(p, p))
tried('deep', lambda: os.makedirs('/'.join(['y' * 200] * 19)))
tried('deep file', lambda: write('/'.join(['y' * 200] * 19) + '/' + 'z' * 200))
tried('deep read', lambda: open('/'.join(['y' * 200] * 19) + '/' + 'z' * 200).read())
for length in (4094, 4095, 4096):
    tried(f'target {length}', lambda: os.symlink('t' * length, f'link{length}'))
    tried(f'target {length} read', lambda: len(os.readlink(f'link{length}')))
    tried(f'target {length} follow', lambda: os.stat(f'link{length}'))
os.system('rm -rf ' + base + '/*')
";

#[test]
fn names_and_paths_are_as_long_as_on_the_host() {
    let place = Place::real();
    std::fs::create_dir(place.dir.join("v")).unwrap();
    let native = on_the_host(&place, NAMES);
    assert!(native.contains("255 mkdir ok\n") && native.contains("256 mkdir 36\n"), "{native}");
    assert!(native.contains("path 4095 ok\n") && native.contains("path 4096 36\n"), "{native}");
    for flags in [MODES[0], MODES[1], MODES[2], &["--overlay2=all:memory"]] {
        let _ = Command::new("sh").args(["-c", "rm -rf ./*"]).current_dir(place.dir.join("v")).status();
        assert_eq!(inside(&place, flags, NAMES), native, "{flags:?}");
    }
}

/// A FUSE server whose disk is broken: names and attributes are there, contents are not.
const BROKEN: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'
if libc.mount(b'broken', sys.argv[1].encode(), b'fuse', 0, options.encode()) != 0:
    print('no mount:', os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(0)
print('mounted', flush=True)
kinds = {1: 0o40755, 2: 0o100644, 3: 0o40755, 4: 0o100644}
names = {b'file': 2, b'dir': 3, b'large': 4}
def attr(node):
    size = 100 if node == 2 else 1 << 20 if node == 4 else 0
    return struct.pack('<6Q10I', node, size, 8, 1, 1, 1, 0, 0, 0, kinds[node], 1, 0, 0, 0, 4096, 0)
while True:
    try: request = os.read(fd, 1 << 20)
    except OSError as e:
        if e.errno == 19: break
        continue
    length, op, unique, node = struct.unpack_from('<IIQQ', request)
    def reply(data=b'', error=0): os.write(fd, struct.pack('<IiQ', 16 + len(data), -error, unique) + data)
    if op == 26: reply(struct.pack('<IIIIHHIIHHI28x', 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0))
    elif op == 1:
        found = names.get(request[40:].rstrip(b'\\0'))
        if found: reply(struct.pack('<4QII', found, 0, 0, 0, 0, 0) + attr(found))
        else: reply(error=2)
    elif op == 3: reply(struct.pack('<QII', 0, 0, 0) + attr(node))
    elif op in (14, 27): reply(struct.pack('<QII', 7, 0, 0))
    elif op == 17: reply(struct.pack('<5Q4I24x', 100, 50, 50, 10, 5, 4096, 255, 4096, 0))
    elif op in (2, 42): pass
    elif op in (18, 29): reply()
    elif op in (34, 52): reply(error=38)
    else: reply(error=5)
";
const LOOK: &str = "
import errno, mmap, os, sys
os.chdir(sys.argv[1])
def tried(name, what):
    try: print(name, what() or 'ok', flush=True)
    except OSError as e: print(name, errno.errorcode[e.errno], flush=True)
tried('stat', lambda: (os.stat('file').st_size, os.stat('large').st_size))
tried('absent', lambda: os.stat('none'))
f, l = os.open('file', os.O_RDWR), os.open('large', os.O_RDONLY)
tried('read', lambda: os.read(f, 10))
tried('again', lambda: os.pread(f, 10, 50))
tried('large', lambda: os.pread(l, 100000, 0))
tried('list', lambda: os.listdir('.'))
tried('list dir', lambda: os.listdir('dir'))
tried('mkdir', lambda: os.mkdir('new'))
tried('create', lambda: os.open('new', os.O_CREAT | os.O_RDWR))
tried('unlink', lambda: os.unlink('file'))
tried('rename', lambda: os.rename('file', 'other'))
tried('chmod', lambda: os.chmod('file', 0o600))
tried('truncate', lambda: os.truncate('file', 5))
tried('fsync', lambda: os.fsync(f))
tried('xattr', lambda: os.getxattr('file', 'user.x'))
pid = os.fork()
if pid == 0:
    m = mmap.mmap(l, 8192, prot=mmap.PROT_READ)
    m[5000]
    os._exit(0)
print('mapped', os.waitpid(pid, 0)[1] & 127)
os.chdir('/')
print('elsewhere', os.path.exists('/usr'), len(os.listdir('/')) > 3)
";

/// Ends the server, and takes what it served away.
struct Server(Child, std::path::PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.1).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Needs root and /dev/fuse on the host.
#[test]
fn a_host_whose_disk_fails_is_eio_and_no_more() {
    use std::io::{BufRead, BufReader};
    let place = Place::real();
    let volume = place.dir.join("v");
    std::fs::create_dir(&volume).unwrap();
    let started = Command::new("python3").args(["-c", BROKEN]).arg(&volume).stdout(Stdio::piped()).spawn();
    let mut server = Server(started.unwrap(), volume);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line != "mounted\n" {
        eprintln!("skipped: {line}");
        return;
    }
    let native = on_the_host(&place, LOOK);
    assert!(native.contains("read EIO\n") && native.contains("mapped 7\n"), "{native}");
    for flags in MODES {
        assert_eq!(inside(&place, flags, LOOK), native, "{flags:?}");
    }
    drop(server);
    place.assert_empty();
}

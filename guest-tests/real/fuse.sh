# File systems that guests serve: squashfuse, bindfs, unionfs-fuse, fuse-overlayfs, sshfs over a pipe, Python servers; fusermount3 by a user.
set -eu
mkdir -p /tmp/f && cd /tmp/f
mounted() { for _ in $(seq 100); do mountpoint -q "$1" && return; sleep 0.05; done; echo "$1 is not mounted"; return 1; }
refused() { if "$@" 2> /dev/null; then echo "not refused: $*"; exit 1; fi; }
test -e /etc/mtab || ln -s /proc/self/mounts /etc/mtab
# What a file system must do, in a folder of it.
exercise() {
    (
        set -e
        cd "$1"
        mkdir -p d/e
        echo one > d/e/f
        echo two >> d/e/f
        test "$(cat d/e/f)" = "one
two"
        mv d/e/f d/g
        test ! -e d/e/f
        rmdir d/e
        ln -s g d/link
        test "$(readlink d/link)" = g
        test "$(wc -l < d/link)" = 2
        chmod 640 d/g
        test "$(stat -c %a d/g)" = 640
        truncate -s 100000 d/g
        test "$(stat -c %s d/g)" = 100000
        head -c 3000000 /dev/urandom > big
        cp big copy
        cmp big copy
        rm copy
        for i in $(seq 50); do echo $i > d/$i; done
        test "$(ls d | wc -l)" = 52
        test "$(cat d/[0-9]* | sort -n | tail -1)" = 50
        tar cf - d | tar xf - -C /tmp/f --one-top-level=untar
        diff -r d /tmp/f/untar/d
        rm -rf /tmp/f/untar
        rm -r d big
        test -z "$(ls)"
    )
}

echo == squashfuse
cp -r /usr/share/doc/bash tree
mksquashfs tree tree.sqsh -quiet -no-progress > /dev/null
mkdir s
squashfuse tree.sqsh s
mounted s
diff -r tree s
test "$(stat -f -c %t s)" = 65735546
refused touch s/x
fusermount3 -u s
refused mountpoint -q s
squashfuse_ll tree.sqsh s
mounted s
diff -r tree s
umount s

echo == bindfs
mkdir low b
bindfs --force-user=nobody low b
mounted b
exercise b
echo x > low/file
test "$(stat -c %U b/file)" = nobody
cp /bin/true b/true
b/true
grep -q ' /tmp/f/b fuse rw,' /proc/self/mounts || grep -q ' /tmp/f/b fuse.bindfs rw,' /proc/self/mounts
fusermount3 -u b

echo == unionfs-fuse
mkdir -p r1 r2 u
echo lower > r2/only
unionfs-fuse -o cow r1=RW:r2=RO u
mounted u
test "$(cat u/only)" = lower
echo upper > u/only
test "$(cat r2/only)" = lower
test "$(cat r1/only)" = upper
rm u/only
test ! -e u/only
test -e r2/only
mkdir u/sub
echo 1 > u/sub/a
test -e r1/sub/a
fusermount -u u || umount u

echo == fuse-overlayfs
mkdir -p ol ou ow om
cp -r tree/. ol
fuse-overlayfs -o lowerdir=ol,upperdir=ou,workdir=ow om
mounted om
diff -r tree om
rm om/copyright
test ! -e om/copyright
test -e ol/copyright
mkdir om/sub
exercise om/sub
fusermount3 -u om

echo == sshfs
mkdir -p remote ssh
mkfifo to from
cat > pair.py <<'PY'
# sshfs in slave mode speaks SFTP by its own stdin and stdout: a server of the container's is at the other end.
import os, socket, subprocess, sys
a, b = socket.socketpair()
server = subprocess.Popen(["/usr/lib/openssh/sftp-server"], stdin=a, stdout=a)
a.close()
os.execvp("sshfs", ["sshfs", "-f", "-o", sys.argv[1], ":/tmp/f/remote", "ssh"]) if os.dup2(b.fileno(), 0) == 0 and os.dup2(b.fileno(), 1) == 1 else None
PY
python3 pair.py passive & sshfs=$!
mounted ssh
exercise ssh
echo there > ssh/x
test "$(cat remote/x)" = there
fusermount3 -u ssh
wait $sshfs

echo == fusepy
cat > mem.py <<'PY'
import errno, stat, sys, time
from fusepy import FUSE, FuseOSError, Operations
class Memory(Operations):
    def __init__(self):
        self.files = {"/": dict(st_mode=stat.S_IFDIR | 0o755, st_nlink=2)}
        self.data = {}
    def getattr(self, path, fh=None):
        if path not in self.files:
            raise FuseOSError(errno.ENOENT)
        return dict(self.files[path], st_size=len(self.data.get(path, b"")))
    def readdir(self, path, fh):
        return [".", ".."] + [p[1:] for p in self.files if p != "/"]
    def create(self, path, mode):
        self.files[path] = dict(st_mode=stat.S_IFREG | mode, st_nlink=1)
        self.data[path] = b""
        return 1
    def read(self, path, size, offset, fh):
        return self.data[path][offset:offset + size]
    def write(self, path, data, offset, fh):
        old = self.data[path].ljust(offset, b"\0")
        self.data[path] = old[:offset] + data + old[offset + len(data):]
        return len(data)
    def truncate(self, path, length, fh=None):
        self.data[path] = self.data[path][:length].ljust(length, b"\0")
    def unlink(self, path):
        del self.files[path], self.data[path]
    def chmod(self, path, mode):
        self.files[path]["st_mode"] = mode
FUSE(Memory(), sys.argv[1], foreground=True, nothreads=True)
PY
mkdir py
python3 mem.py py & python=$!
mounted py
echo hello > py/a
echo more >> py/a
test "$(wc -c < py/a)" = 11
test "$(ls py)" = a
head -c 500000 /dev/urandom > rand
cp rand py/b
cmp rand py/b
rm py/a
test "$(ls py)" = b
fusermount3 -u py
wait $python

echo == pyfuse3
cat > hello.py <<'PY'
import errno, os, stat, sys, pyfuse3, trio
class Hello(pyfuse3.Operations):
    text = b"hello from trio\n"
    async def getattr(self, inode, ctx=None):
        e = pyfuse3.EntryAttributes()
        if inode == pyfuse3.ROOT_INODE:
            e.st_mode = stat.S_IFDIR | 0o755
        elif inode == 2:
            e.st_mode, e.st_size = stat.S_IFREG | 0o644, len(self.text)
        else:
            raise pyfuse3.FUSEError(errno.ENOENT)
        e.st_ino = inode
        return e
    async def lookup(self, parent, name, ctx=None):
        if name != b"message":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(2)
    async def opendir(self, inode, ctx):
        return inode
    async def readdir(self, fh, start, token):
        if start == 0:
            pyfuse3.readdir_reply(token, b"message", await self.getattr(2), 1)
    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode)
    async def read(self, fh, off, size):
        return self.text[off:off + size]
pyfuse3.init(Hello(), sys.argv[1], {"fsname=hello"})
trio.run(pyfuse3.main)
pyfuse3.close()
PY
mkdir tr
python3 hello.py tr & trio=$!
mounted tr
test "$(ls tr)" = message
test "$(cat tr/message)" = "hello from trio"
grep -q '^hello /tmp/f/tr fuse rw' /proc/self/mounts
fusermount3 -u tr
wait $trio

echo == a user
# As udev makes it. This machine's own may be root's alone.
if test "$(stat -c %a /dev/fuse)" != 666; then
    mknod -m 666 node c 10 229
    mount --bind node /dev/fuse
fi
chmod 755 /tmp/f
install -d -o nobody user user/low user/m
chown nobody user/low user/m
setpriv --reuid nobody --clear-groups --regid nogroup sh -euc '
    cd /tmp/f/user
    cp /etc/passwd low
    bindfs --no-allow-other low m
    cmp /etc/passwd m/passwd
    grep -q "user_id=$(id -u)" /proc/self/mounts
    if fusermount3 -u /tmp 2> /dev/null; then exit 1; fi
'
refused ls user/m # the mounter's alone, root or not
setpriv --reuid nobody --clear-groups --regid nogroup fusermount3 -u user/m
refused mountpoint -q user/m

echo == a server that is killed
mkdir k
bindfs -f low k & server=$!
mounted k
kill -9 $server
refused wait $server
if ls k 2> err; then exit 1; fi
grep -q 'Transport endpoint is not connected' err
umount k
echo ok

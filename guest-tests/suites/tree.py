#!/usr/bin/env python3
"""tree.py FOLDER FILES SEED: fills FOLDER with FILES entries of each kind that tar can pack, made from SEED: files of 0 to 1 MiB, sparse ones, links of both kinds,
FIFOs, devices and folders; names, modes, owners, times and extended attributes that a file system may get wrong."""
import os
import random
import stat
import struct
import sys

root, files, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chance = random.Random(seed)
os.umask(0)
os.makedirs(root)
os.chdir(root)

MODES = [0o644] * 6 + [0o755, 0o600, 0o444, 0, 0o4755, 0o2755, 0o6711, 0o1777]
ODD = ["with space", "näme", "line\nbreak", "-dash", "back\\slash", "quote'\"", "\x01\x7f", ".hidden", "#", "*"]


def name(number):
    kind = chance.randrange(40)
    if kind == 0:
        return f"{number}." + "x" * (255 - len(f"{number}."))
    if kind < 4:
        return f"{number} {chance.choice(ODD)}"
    return f"file{number}.c"


def content(path):
    size = chance.choice([0, 1, 4095, 4096, 4097]) if chance.randrange(8) == 0 else int(2 ** chance.uniform(4, 15))
    if chance.randrange(500) == 0:
        size = 1 << 20
    with open(path, "wb") as file:
        if chance.randrange(100) == 0:
            file.seek(chance.randrange(1, 64) << 16)
            file.write(b"after a hole")
            file.truncate(file.tell() + (chance.randrange(64) << 12))
        else:
            file.write(chance.randbytes(size))


def finish(path, number):
    """Attributes, in the order in which none undoes another. Linux has user.* on files and folders only."""
    info = os.lstat(path)
    plain = stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
    os.lchown(path, chance.choice([0, 0, 1, 1000, 65534, 4000000]), chance.choice([0, 0, 5, 1000, 4000000]))
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(path, chance.choice(MODES) | (0o700 if stat.S_ISDIR(info.st_mode) else 0))
    # One each: in which order listxattr(2) names them is the file system's affair.
    if plain and number % 10 == 0:
        os.setxattr(path, "user.bytes", chance.randbytes(chance.randrange(1, 200)))
    elif stat.S_ISREG(info.st_mode) and number % 50 == 5:
        os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1 << chance.randrange(32), 0, 0, 0))
    nanoseconds = chance.choice([0, 1, 999_999_999, chance.randrange(10**9)])
    seconds = chance.choice([0, 1, 2**31 - 1, 2**31, chance.randrange(2**31)])
    os.utime(path, ns=(0, seconds * 10**9 + nanoseconds), follow_symlinks=False)


folders, regular, made = ["."], ["."], []
for number in range(files):
    kind = chance.randrange(100)
    path = os.path.join(chance.choice(folders[-200:]), name(number))
    if kind < 8 and path.count("/") < 30:
        os.mkdir(path)
        folders.append(path)
    elif kind < 12:
        target = chance.choice(["nowhere", "/etc/passwd", "../" * 20 + "x", "y" * 4095, "line\nbreak"])
        os.symlink(target, path)
    elif kind < 16 and len(regular) > 1:
        os.link(chance.choice(regular[1:]), path)
        continue
    elif kind == 16:
        os.mkfifo(path)
    elif kind == 17:
        os.mknod(path, 0o600 | chance.choice([stat.S_IFCHR, stat.S_IFBLK]), os.makedev(chance.randrange(4096), number))
    else:
        content(path)
        regular.append(path)
    made.append((path, number))
# Children first: making them touches their folder's time.
for path, number in reversed(made):
    finish(path, number)

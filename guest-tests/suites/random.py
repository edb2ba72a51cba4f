#!/usr/bin/env python3
"""One differential test: random.py [--shrink] STOCKADE PROGRAM PLACE SEED STEPS

Runs guest-tests/programs/random/PROGRAM natively and in a sandbox and compares what they print; ends with status 1 and the first
difference. PLACE is one of lib.sh, or two with a colon between them (the native one first). --shrink leaves out steps as long as a
difference is left, and prints the few that matter with both transcripts.

    random.py target/stockade files tmpfs 7 0-999
    random.py --shrink target/stockade files native-tmpfs:native-overlay 7 0-999
"""

import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NATIVE = {"tmpfs": "native-tmpfs", "overlay": "native-overlay", "self": "native-overlay", "bind": "native-disk", "shared": "native-disk"}
SECONDS = 120


def compiled(name):
    source = os.path.join(HERE, "../programs/random", name + ".c")
    support = os.path.join(HERE, "../programs/support")
    binary = os.path.join("/var/tmp", f"stockade-random-{os.getuid()}", name)
    os.makedirs(os.path.dirname(binary), mode=0o755, exist_ok=True)
    newest = max(os.path.getmtime(path) for path in [source, *glob.glob(support + "/*.h")])
    if not os.path.exists(binary) or os.path.getmtime(binary) < newest:
        new = f"{binary}.{os.getpid()}"
        flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "-Wno-unused-result", "-Wno-nonnull", "-Wno-stringop-overread", "-Wno-format-truncation", "-fno-stack-protector"]
        subprocess.run(["gcc", *flags, "-static", "-pthread", "-I", support, "-o", new, source], check=True)
        os.rename(new, binary)
    return binary


def transcript(stockade, place, binary, seed, steps):
    command = f"cd $PLACE && {binary} {seed} {steps}"
    inside = ["bash", "-c", '. "$0"; inside "$3" "$4" "$5"', os.path.join(HERE, "lib.sh"), stockade, "-", place, str(SECONDS), command]
    ran = subprocess.run(inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return ran.stdout.decode(errors="replace").splitlines() + [f"status {ran.returncode}"]


def first_difference(one, other):
    for at in range(max(len(one), len(other))):
        if one[at : at + 1] != other[at : at + 1]:
            return at
    return None


def expand(steps):
    for part in steps.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def compress(numbers):
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in parts)


class Twins:
    def __init__(self, stockade, program, places, seed):
        self.stockade, self.binary, self.seed = os.path.abspath(stockade), compiled(program), seed
        native, _, place = places.rpartition(":")
        self.places = (native or NATIVE[place], place)

    def run(self, steps):
        return [transcript(self.stockade, place, self.binary, self.seed, compress(steps)) for place in self.places]

    def differ(self, steps):
        return first_difference(*self.run(steps)) is not None

    def shrink(self, steps):
        native, other = self.run(steps)
        at = first_difference(native, other)
        number = (native + other[at:])[at].split(":")[0]  # what comes after the first difference does not matter
        if number.isdigit() and self.differ(shorter := [step for step in steps if step <= int(number)]):
            steps = shorter
        size = max(len(steps) // 2, 1)
        while True:
            begin, less = 0, False
            while begin < len(steps):
                rest = steps[:begin] + steps[begin + size :]
                if rest and self.differ(rest):
                    steps, less = rest, True
                else:
                    begin += size
            if size == 1 and not less:
                return steps
            size = max(size // 2, 1)


def main():
    arguments = sys.argv[1:]
    shrink = arguments[:1] == ["--shrink"]
    if len(arguments) - shrink != 5:
        sys.exit(__doc__)
    stockade, program, places, seed, steps = arguments[shrink:]
    twins, steps = Twins(stockade, program, places, seed), list(expand(steps))
    native, other = twins.run(steps)
    if first_difference(native, other) is None:
        print(f"alike: {len(native)} lines")
        return
    if shrink:
        steps = twins.shrink(steps)
        native, other = twins.run(steps)
        print("\n".join([f"steps {compress(steps)}", "natively:", *native, "inside:", *other]))
        sys.exit(1)
    at = first_difference(native, other)
    print("\n".join([f"line {at + 1} differs", *(f"      {line}" for line in native[max(at - 3, 0) : at]), *(f"host: {line}" for line in native[at : at + 1]), *(f"here: {line}" for line in other[at : at + 1])]))
    sys.exit(1)


main()

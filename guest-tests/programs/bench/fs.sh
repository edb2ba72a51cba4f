# Works on files, each timed: "NAME NANOSECONDS" lines. Run inside by `cargo xtask bench --fs`, on a root with the prepared folder /srv/bench:
# `small` (5,000 files of 100 folders), `file` (1 GiB), `100000` and `1000000` (folders of so many empty files), `fsbench`.
# Argument: only works whose name contains it. Works marked (first) are the first to see their files in this sandbox.
set -eu
export LC_ALL=C HOME=/bench GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0
filter=${1-}
mkdir -p /bench
cd /bench

timed() {
    local name=$1 before after
    shift
    [[ $name == *"$filter"* ]] || return 0
    before=${EPOCHREALTIME/./}
    "$@"
    after=${EPOCHREALTIME/./}
    echo "$name $(((after - before) * 1000))"
}
# A program that measures by itself.
measured() {
    local name=$1
    shift
    [[ $name == *"$filter"* ]] || return 0
    echo "$name $("$@")"
}
twice() {
    local name=$1
    shift
    timed "$name (first)" "$@"
    timed "$name" "$@"
}

headers() { find /usr -name '*.h' >/dev/null; }
archive() { tar cf - /usr/lib/python3 2>/dev/null | cat >/dev/null; }
search() { grep -r needle /srv/bench/small >/dev/null; }
names() { find /srv/bench/small >/dev/null; }
create() {
    local i j
    mkdir -p /bench/new
    for ((i = 0; i < 100; i++)); do
        mkdir "/bench/new/$i"
        for ((j = 0; j < 50; j++)); do
            echo "the contents of file $j in folder $i" >"/bench/new/$i/$j"
        done
    done
}
add() {
    git -C /bench/new init -q -b main
    git -C /bench/new add .
    git -C /bench/new commit -q -m all
}
status() { git -C /bench/new status --short >/dev/null; }
remove() { rm -rf /bench/new; }
blocks() { dd if=/dev/zero of=/bench/blocks bs="$1" count="$2" status=none; }

twice "find /usr" headers
twice "tar python3" archive
twice "grep -r 5000" search
twice "find 5000" names
timed "create 5000" create
timed "git add, commit" add
timed "git status" status
timed "rm -rf 5000" remove
timed "dd 4 KiB" blocks 4k 20000
rm -f /bench/blocks
timed "dd 1 MiB" blocks 1M 256
rm -f /bench/blocks
measured "map 1 GiB" /srv/bench/fsbench map /srv/bench/file
measured "list 100000" /srv/bench/fsbench list /srv/bench/100000
measured "list 1000000" /srv/bench/fsbench list /srv/bench/1000000
rm -rf /bench

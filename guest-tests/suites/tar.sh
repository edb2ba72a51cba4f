# tar out and in: a tree of every kind of entry is unpacked by tar in each place and packed again; the archive must be bit by bit the one that the same tar makes
# of the tree natively, and so must be that of what the host sees in its folder. Order, names, modes, owners, times to the nanosecond, extended attributes,
# devices, holes, links and content are all in it. TREE_FILES and TREE_SEED give other trees.
. "$(dirname "$0")/lib.sh"
files=${TREE_FILES:-5000} seed=${TREE_SEED:-$RANDOM}

# pack: to standard output. The times that tar itself or nobody can set are left out.
pack="tar --format=posix --sort=name --numeric-owner --xattrs --xattrs-include=* --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -c ."
unpack="tar --numeric-owner --xattrs --xattrs-include=* -p -x -f $work/tree.tar"

check() {
    local what=$1 sum=$2
    if [ "$sum" = "$whole" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what: tree of $files entries, seed $seed: the archive differs from the native one (${sum:-none})"
    fi
}

cat >"$work/tar-out-in.sh" <<SH
set -ef
cd \$PLACE
mkdir out
cd out
$unpack
$pack | sha256sum
SH
cat >"$work/tar-in.sh" <<SH
set -ef
cd $work/tree
$pack | sha256sum
SH

set -f
python3 "$(dirname "$0")/tree.py" "$work/tree" "$files" "$seed" && (cd "$work/tree" && $pack >"$work/tree.tar")
whole=$(sha256sum <"$work/tree.tar")
echo "note: $files entries, seed $seed, $(stat -c %s "$work/tree.tar") bytes"
for place in native $places; do
    started=$(date +%s)
    check "$place, unpacked" "$(inside "$place" "${SUITE_SECONDS:-300}" "sh $work/tar-out-in.sh" 2>&1 | tail -n 1)"
    case $place in
    bind | shared) check "$place, as the host sees it" "$(cd "$work/place/out" && $pack | sha256sum)" ;;
    esac
    echo "note: $place took $(($(date +%s) - started)) s"
done
check "packed from a folder of the host" "$(inside overlay "${SUITE_SECONDS:-300}" "sh $work/tar-in.sh" 2>&1 | tail -n 1)"
finish

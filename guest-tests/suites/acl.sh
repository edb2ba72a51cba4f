# Access control lists: the cases of guest-tests/programs/acl, natively and in every place. Those that pass natively must pass everywhere.
. "$(dirname "$0")/lib.sh"

programs=$(cd "$(dirname "$0")/../programs" && pwd)
for source in "$programs"/acl/*.c; do
    name=$(basename "$source" .c)
    cc -static -pthread -O1 -w -I "$programs/support" -o "$work/$name" "$source" || echo "FAILED $name does not compile"
    for place in native-disk native-tmpfs $places; do
        log=$work/$name-$place.log
        inside "$place" 120 "cd \$PLACE && $work/$name" >"$log" 2>&1
        passed=$((passed + $(grep -c '^ok ' "$log"))) skipped=$((skipped + $(grep -c '^skip ' "$log")))
        while read -r line; do
            failed=$((failed + 1))
            echo "FAILED $place $name $line"
        done < <(grep '^FAIL ' "$log")
        if ! grep -q '^done$' "$log"; then
            failed=$((failed + 1))
            echo "FAILED $place $name did not come to its end: $(tail -n 1 "$log")"
        fi
    done
done
finish

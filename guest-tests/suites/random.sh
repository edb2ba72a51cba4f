# Differential tests: guest-tests/programs/random/NAME.c makes system calls at random, from a seed, and prints what comes of each; natively and in a sandbox that must be the same, line for line.
# A program says in which places it makes sense (`// places:`), or that differences are still open there (`// open:`): those are run by hand only.
# RANDOM_SEEDS and RANDOM_STEPS give other runs; guest-tests/suites/random.py does one of them by hand, and finds the steps that matter.
passed=0 failed=0
seeds=${RANDOM_SEEDS:-"1 2 3"} steps=${RANDOM_STEPS:-1000}
here=$(dirname "$0")
for source in "$here"/../programs/random/*.c; do
    name=$(basename "$source" .c)
    for place in $(sed -n 's|^// places: ||p' "$source"); do
        for seed in $seeds; do
            if why=$(python3 "$here/random.py" "$1" "$name" "$place" "$seed" "0-$((steps - 1))" 2>&1); then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                echo "FAILED $name in $place with seed $seed: $(echo "$why" | tail -n 8 | tr '\n' '|')"
            fi
        done
    done
done
echo "note: seeds $seeds, $steps steps each"
echo "$passed passed, $failed failed, 0 skipped"

# Another kernel than this machine's: that of Debian's stable release (6.1 in bookworm), in qemu without KVM, with cgroup v2 alone. What newer kernels than it have is
# missing there, so the fallbacks run that `--platform` else switches on by force.
# Called as `bash debian.sh STOCKADE CACHE`, as root; ends with "N passed, N failed, N skipped".
set -uo pipefail
stockade=$1 cache=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/stockade-kernel-XXXXXX")
trap 'rm -rf "$work"' EXIT

skip() {
    echo "skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
for tool in qemu-system-x86_64 busybox apt-get dpkg-deb gcc; do
    command -v "$tool" >/dev/null || skip "no $tool on this machine"
done

# The kernel, kept from one run to the next.
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
test -n "$package" || skip "apt knows no linux-image-cloud-amd64"
kernel=$cache/${package#linux-image-}.vmlinuz
if ! test -s "$kernel"; then
    (cd "$work" && apt-get -q download "$package" && dpkg-deb -x "$package"_*.deb image) >"$work/download" 2>&1 ||
        skip "$package cannot be had: $(tail -n 1 "$work/download")"
    mkdir -p "$cache"
    cp "$work"/image/boot/vmlinuz-* "$kernel.new" && mv "$kernel.new" "$kernel"
fi

# A root of what the job takes, all in memory: no drivers are needed.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,programs,root}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$stockade" "$root/bin/stockade" && strip "$root/bin/stockade"
cp "$here/init.sh" "$root/init" && cp "$here/job.sh" "$root/job.sh" && chmod 755 "$root/init"
for program in $(sed -n 's/^programs="\(.*\)"$/\1/p' "$here/job.sh"); do
    # Emulated processors take their time.
    gcc -std=gnu17 -O1 -static -pthread -w -DCASE_SECONDS=100 -I "$here/../programs/support" \
        -Wl,--no-warn-execstack -o "$root/programs/${program//\//-}" "$here/../programs/$program.c" || exit 1
done
(cd "$root" && find . | busybox cpio -o -H newc) 2>/dev/null | gzip -1 >"$work/initrd"

timeout -s KILL ${KERNEL_SECONDS:-600} qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G -nographic -no-reboot -net none -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1" </dev/null >"$work/console" 2>&1
tr -d '\r' <"$work/console" | grep -E '^(note:|FAILED|    )'
tr -d '\r' <"$work/console" | grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' || {
    echo "FAILED: the machine did not come to its end: $(tail -n 5 "$work/console" | tr '\r\n' ' |')"
    echo "0 passed, 1 failed, 0 skipped"
}

# python3's own test modules for what is the kernel's: processes, signals, threads, files, terminals, polling. Those that need other sockets than unix ones are left out.
set -eu
export LC_ALL=C.UTF-8
cd /tmp
modules="test_fileio test_genericpath test_glob test_mmap test_pathlib test_popen test_posix test_posixpath test_pty test_resource test_select
    test_shutil test_stat test_tempfile test_thread test_threadsignals"
for module in $modules; do
    if ! timeout 60 python3 -m unittest "test.$module" > /tmp/log 2>&1 < /dev/null; then
        grep -E -A 15 '^(ERROR|FAIL)' /tmp/log || tail -n 20 /tmp/log
        echo "$module failed"
        exit 1
    fi
done
# Of those that wait long, or open sockets of other families, some cases.
some() {
    timeout 60 python3 -m unittest "$@" > /tmp/log 2>&1 < /dev/null || { cat /tmp/log; exit 1; }
}
some -k test_above_fd_setsize test.test_selectors
some -k test_register -k test_sigsegv test.test_faulthandler
some -k WakeupSignalTests -k PidfdSignalTest -k PendingSignalsTests test.test_signal
some -k POSIXProcessTestCase test.test_subprocess
echo ok

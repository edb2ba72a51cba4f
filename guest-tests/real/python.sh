# python3: threading, multiprocessing, subprocess, asyncio, signal, mmap, sqlite3, venv.
set -eu
cat > /tmp/t.py <<'P'
import asyncio, ctypes, mmap, multiprocessing as mp, os, select, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
import queue

def square(x): return x * x
def worker(q, n): q.put((os.getpid(), n * n))

def threads():
    q, results = queue.Queue(), []
    lock = threading.Lock()
    def run():
        while (x := q.get()) is not None:
            with lock: results.append(x)
    ts = [threading.Thread(target=run) for _ in range(8)]
    [t.start() for t in ts]
    [q.put(x) for x in range(5000)]
    [q.put(None) for _ in ts]
    [t.join() for t in ts]
    assert sorted(results) == list(range(5000))
    with ThreadPoolExecutor(20) as pool: assert sum(pool.map(square, range(100))) == 328350
    e = threading.Event(); threading.Timer(0.02, e.set).start(); assert e.wait(5)

def processes():
    for method in 'fork', 'spawn':
        context = mp.get_context(method)
        q = context.Queue()
        ps = [context.Process(target=worker, args=(q, n)) for n in range(4)]
        [p.start() for p in ps]
        assert sorted(q.get(timeout=20)[1] for _ in ps) == [0, 1, 4, 9]
        [p.join() for p in ps]
        assert all(p.exitcode == 0 for p in ps)
        with context.Pool(2) as pool: assert pool.map(square, range(50)) == [x * x for x in range(50)]
    value = mp.Value('i', 0); lock = mp.Lock()
    def add():
        for _ in range(200):
            with lock: value.value += 1
    ps = [mp.get_context('fork').Process(target=add) for _ in range(4)]
    [p.start() for p in ps]; [p.join() for p in ps]
    assert value.value == 800
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=4096); m.buf[:5] = b'hello'
    n = shared_memory.SharedMemory(name=m.name); assert bytes(n.buf[:5]) == b'hello'; n.close(); m.close(); m.unlink()

def subprocesses():
    assert subprocess.run(['echo', 'x'], capture_output=True, text=True).stdout == 'x\n'
    assert subprocess.run('exit 3', shell=True).returncode == 3
    p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    data = os.urandom(1 << 20); assert p.communicate(data)[0] == data
    try: subprocess.run(['sleep', '10'], timeout=0.1); assert False
    except subprocess.TimeoutExpired: pass
    p = subprocess.Popen(['sleep', '10']); p.terminate(); assert p.wait() == -signal.SIGTERM
    for _ in range(30): assert subprocess.run(['true']).returncode == 0

def asyncs():
    async def serve():
        async def handle(r, w):
            w.write((await r.readline()).upper()); await w.drain(); w.close()
        path = tempfile.mktemp()
        server = await asyncio.start_unix_server(handle, path)
        async def ask(n):
            r, w = await asyncio.open_unix_connection(path)
            w.write(b'hello %d\n' % n); answer = await r.readline(); w.close(); return answer
        assert await asyncio.gather(*(ask(n) for n in range(50))) == [b'HELLO %d\n' % n for n in range(50)]
        server.close()
        p = await asyncio.create_subprocess_exec('sh', '-c', 'echo out; exit 4', stdout=asyncio.subprocess.PIPE)
        assert (await p.communicate())[0] == b'out\n' and p.returncode == 4
        try: await asyncio.wait_for(asyncio.sleep(10), 0.05); assert False
        except asyncio.TimeoutError: pass
        got = asyncio.Event(); asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
        os.kill(os.getpid(), signal.SIGUSR1); await asyncio.wait_for(got.wait(), 5)
        assert await asyncio.to_thread(square, 7) == 49
    asyncio.run(serve())

def signals():
    seen = []
    signal.signal(signal.SIGUSR2, lambda s, f: seen.append(s))
    os.kill(os.getpid(), signal.SIGUSR2); assert seen == [signal.SIGUSR2]
    signal.signal(signal.SIGALRM, lambda s, f: seen.append(s)); signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(0.1); assert signal.SIGALRM in seen
    r, w = os.pipe(); pid = os.fork()
    if pid == 0: os.write(w, b'c'); os._exit(5)
    assert os.read(r, 1) == b'c' and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5

def maps():
    with tempfile.TemporaryFile() as f:
        f.write(b'x' * 10000); f.flush()
        m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b'HELLO'; m.flush(); f.seek(5000); assert f.read(5) == b'HELLO'; m.close()
    m = mmap.mmap(-1, 4096)
    if os.fork() == 0: m[:3] = b'abc'; os._exit(0)
    os.wait(); assert m[:3] == b'abc'

def databases():
    path = tempfile.mktemp()
    c = sqlite3.connect(path); c.execute('pragma journal_mode=wal'); c.execute('create table t(a integer primary key, b text)')
    with c: c.executemany('insert into t(b) values(?)', [(str(n),) for n in range(5000)])
    def read():
        d = sqlite3.connect(path); assert d.execute('select count(*) from t').fetchone()[0] >= 5000; d.close()
    ts = [threading.Thread(target=read) for _ in range(4)]; [t.start() for t in ts]; [t.join() for t in ts]
    assert c.execute('pragma integrity_check').fetchone()[0] == 'ok'; c.close()

if __name__ == '__main__':
    for part in threads, processes, subprocesses, asyncs, signals, maps, databases:
        print(part.__name__, flush=True); part()
P
timeout 120 python3 /tmp/t.py
python3 -m venv --without-pip /tmp/venv
/tmp/venv/bin/python -c 'import sys; assert sys.prefix == "/tmp/venv"'
echo 'import json, decimal, ssl, ctypes, zlib, hashlib, unittest; print(hashlib.sha256(b"x").hexdigest()[:8])' | /tmp/venv/bin/python | grep -qx 2d711642
python3 -m compileall -q /usr/lib/python3.11/json > /dev/null || true
echo ok

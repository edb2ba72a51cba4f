# node: event loop, worker threads, child processes, files, crypto.
set -eu
cat > /tmp/t.js <<'J'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
if (!isMainThread) { let s = 0; for (let i = 0; i < 2e6; i++) s += i % workerData; parentPort.postMessage(s); return; }
const fs = require('fs'), os = require('os'), path = require('path'), assert = require('assert'), net = require('net');
const { execFileSync, spawn } = require('child_process'), crypto = require('crypto');
(async () => {
  const sums = await Promise.all([2, 3, 5, 7].map(n => new Promise((y, no) => new Worker(__filename, { workerData: n }).on('message', y).on('error', no))));
  assert.strictEqual(sums[0], 1e6);
  assert.strictEqual(execFileSync('echo', ['hi']).toString(), 'hi\n');
  await new Promise(y => spawn('sh', ['-c', 'exit 3']).on('exit', c => { assert.strictEqual(c, 3); y(); }));
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'n')), file = path.join(dir, 'f');
  await Promise.all([...Array(100).keys()].map(n => fs.promises.writeFile(file + n, String(n))));
  assert.strictEqual((await fs.promises.readdir(dir)).length, 100);
  const big = crypto.randomBytes(4 << 20);
  await fs.promises.writeFile(file, big); assert((await fs.promises.readFile(file)).equals(big));
  await new Promise(y => crypto.pbkdf2('a', 'b', 10000, 32, 'sha256', y));
  const server = net.createServer(c => c.pipe(c)).listen(path.join(dir, 's'));
  await new Promise(y => { const c = net.connect(path.join(dir, 's')); c.write('ping'); c.on('data', d => { assert.strictEqual(String(d), 'ping'); c.end(); server.close(y); }); });
  const before = Date.now(); await new Promise(y => setTimeout(y, 30)); assert(Date.now() - before >= 29);
  let watched; const w = fs.watch(dir, () => watched = true); fs.writeFileSync(file + 'x', ''); await new Promise(y => setTimeout(y, 100)); w.close(); assert(watched);
  assert(os.cpus().length > 0 && os.totalmem() > 0 && os.freemem() > 0);
  console.log('done');
})().catch(e => { console.error(e); process.exit(1); });
J
node -e 'console.log(6 * 7)' | grep -qx 42
timeout 100 node /tmp/t.js | grep -qx done
echo ok

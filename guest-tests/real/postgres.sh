# PostgreSQL over a unix socket: shared memory, semaphores, a process for each connection, a crash and its recovery.
set -eu
export PATH=$PATH:/usr/lib/postgresql/15/bin PGHOST=/tmp PGUSER=postgres
cd /tmp
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir -m 700 /tmp/pg && chown postgres:postgres /tmp/pg
as initdb -D /tmp/pg > initdb.log
echo "unix_socket_directories = '/tmp'
listen_addresses = ''" >> /tmp/pg/postgresql.conf
as pg_ctl -s -w -D /tmp/pg -l /tmp/pg.log start || { cat /tmp/pg.log; exit 1; }
psql -qc 'create table t(a serial primary key, b text)'
for n in 1 2 3 4; do
    (for i in $(seq 10); do psql -qc "insert into t(b) select md5(x::text) from generate_series(1, 500) x"; done) &
done
wait
test "$(psql -Atc 'select count(*), max(a) from t')" = '20000|20000'
psql -qc 'set max_parallel_workers_per_gather = 2; set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; select sum(length(b)) from t' | grep -q 640000
psql -Atc 'listen x; notify x' | grep -q LISTEN
psql -q -c 'create index on t(b)' -c 'vacuum analyze t' -c checkpoint
as pg_ctl -s -w -D /tmp/pg -m immediate stop
as pg_ctl -s -w -D /tmp/pg -l /tmp/pg.log start
test "$(psql -Atc 'select count(*) from t')" = 20000
as pg_ctl -s -w -D /tmp/pg -m fast stop
echo ok

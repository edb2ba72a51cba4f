# sqlite3 with WAL, several writers at once, and an integrity check.
set -eu
cd /tmp
sqlite3 t.db 'pragma journal_mode=wal; create table t(a integer primary key, b text);' | grep -qx wal
for w in 1 2 3 4; do
    (for i in $(seq 25); do sqlite3 -cmd '.timeout 20000' t.db "insert into t(b) values('$w-$i');"; done) &
done
wait
test "$(sqlite3 t.db 'select count(*) from t')" = 100
sqlite3 t.db 'with recursive n(x) as (select 1 union all select x+1 from n where x < 50000) insert into t(b) select x from n;'
test "$(sqlite3 t.db 'select count(*) from t')" = 50100
sqlite3 t.db 'pragma wal_checkpoint(truncate); vacuum; pragma integrity_check;' | tail -1 | grep -qx ok
sqlite3 t.db .dump | sqlite3 u.db && test "$(sqlite3 u.db 'select count(*) from t')" = 50100
echo ok

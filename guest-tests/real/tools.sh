# What people try at once: ssh-keygen, openssl, ruby, lua, gawk, bc, strace -h, systemd-detect-virt's sources of knowledge, unshare, nsenter and lsns.
set -eu
ssh-keygen -q -t ed25519 -N '' -f /tmp/key && ssh-keygen -l -f /tmp/key.pub | grep -q ED25519
ssh-keygen -Y sign -q -n file -f /tmp/key /etc/passwd && test -s /etc/passwd.sig
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out /tmp/rsa 2> /dev/null
openssl req -x509 -new -key /tmp/rsa -subj /CN=test -days 1 -out /tmp/crt && openssl verify -CAfile /tmp/crt /tmp/crt | grep -q OK
openssl speed -seconds 1 -multi 2 -bytes 1024 sha256 2> /dev/null | grep -q sha256
test "$(head -c 1000000 /dev/urandom | tee /tmp/r | sha256sum | cut -c -64)" = "$(openssl dgst -sha256 -r /tmp/r | cut -c -64)"
ruby -e '
  require "tempfile"; require "socket"; require "open3"; require "digest"
  q = Queue.new; t = 4.times.map { |n| Thread.new { 100.times { |i| q << n * i } } }; t.each(&:join); raise unless q.size == 400
  r, w = IO.pipe; pid = fork { r.close; w.write Marshal.dump({ "a" => [1, 2] }); exit!(3) }; w.close
  raise unless Marshal.load(r.read) == { "a" => [1, 2] } && Process.wait2(pid)[1].exitstatus == 3
  out, status = Open3.capture2("sort", stdin_data: "b\na\n"); raise unless out == "a\nb\n" && status.success?
  UNIXServer.open("/tmp/ruby.sock") { |s| Thread.new { c = s.accept; c.puts c.gets.upcase; c.close }; UNIXSocket.open("/tmp/ruby.sock") { |c| c.puts "hi"; raise unless c.gets == "HI\n" } }
  trap("USR1") { $seen = true }; Process.kill("USR1", $$); sleep 0.05; raise unless $seen
  begin; Timeout rescue require "timeout"; Timeout.timeout(0.05) { sleep 5 }; raise "no timeout"; rescue Timeout::Error; end
'
test "$(lua5.4 -e 'local f = io.popen("echo 42"); print(f:read("n") * 2); f:close()')" = 84
test "$(echo '2^200' | bc)" = 1606938044258990275541962092341162602522202993782792835301376
gawk 'BEGIN { "date +%s" | getline t; exit !(t > 1600000000) }'
strace -h | grep -q Usage
printf 'int main(void) { return 0; }' > /tmp/t.c && gcc -fsanitize=address,undefined -o /tmp/t /tmp/t.c 2> /dev/null && /tmp/t
cpio -o < <(cd / && find etc/apt) 2> /dev/null | cpio -t 2> /dev/null | grep -q etc/apt
(cd /etc && zip -qr /tmp/e.zip apt) && tar cJf /tmp/e.tar.xz -C /etc apt && tar tf /tmp/e.tar.xz | grep -q apt
flock /tmp/lock -c 'flock -n /tmp/lock true' && exit 1
getent passwd root | grep -q '^root:' && test "$(su -s /bin/sh nobody -c 'id -un')" = nobody
date -d @0 -u +%Y | grep -qx 1970 && hostname | grep -q . && id | grep -q uid=0
unshare --uts --mount --pid --fork --mount-proc sh -c 'mount -t tmpfs t /mnt && touch /mnt/seen && hostname below && sleep 30' &
below=$!
until test -n "$(pgrep -P $below)" && test "$(nsenter --target "$(pgrep -P $below)" --uts hostname)" = below; do sleep 0.05; done
inner=$(pgrep -P $below)
nsenter --target "$inner" --all sh -c 'test -e /mnt/seen && test $$ -lt 100 && ps -e | grep -q sleep' && test ! -e /mnt/seen
touch /tmp/uts && mount --bind "/proc/$inner/ns/uts" /tmp/uts
lsns --type uts --output NS --noheadings | grep -q "$(stat -L -c %i /tmp/uts)"
kill -9 "$inner" && ! wait "$below" 2> /dev/null
test "$(nsenter --uts=/tmp/uts hostname)" = below && umount /tmp/uts
echo ok

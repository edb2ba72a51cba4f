# The network of a namespace that has none but its loopback device: ip of iproute2, Python's and Go's views, getent, bash. Natively in a fresh network namespace.
set -eu
if [ "${1:-}" != fresh ]; then exec unshare --net --mount bash ${BASH_EXECUTION_STRING:+-c "$BASH_EXECUTION_STRING"} "$0" fresh; fi
# What two kernels say of different age and configuration is left out: the queue's discipline of old, IPv6's scope word.
same() { diff <(eval "$1" 2>&1) - || { echo "$1 differs" >&2; exit 1; }; }
same 'ip link' << 'END'
1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
END
same 'ip addr show up' < /dev/null
same 'ip route show table all' < /dev/null
ip link set lo up
ip addr add 10.1.2.3/24 dev lo
ip addr add 10.1.2.4/24 dev lo label lo:two
same 'ip -4 addr show dev lo' << 'END'
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet 10.1.2.3/24 scope global lo
       valid_lft forever preferred_lft forever
    inet 10.1.2.4/24 scope global secondary lo:two
       valid_lft forever preferred_lft forever
END
same 'ip -6 -o addr | tr -s " \\\\" " " | cut -d" " -f2-6' << 'END'
lo inet6 ::1/128 scope host
END
same 'ip route show table all | sed "s/ *$//"' << 'END'
local 10.1.2.0/24 dev lo table local proto kernel scope host src 10.1.2.3
local 10.1.2.3 dev lo table local proto kernel scope host src 10.1.2.3
local 10.1.2.4 dev lo table local proto kernel scope host src 10.1.2.3
broadcast 10.1.2.255 dev lo table local proto kernel scope link src 10.1.2.3
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1
broadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1
local ::1 dev lo table local proto kernel metric 0 pref medium
END
same 'ip route; ip neigh; ip -6 neigh' < /dev/null
same 'ip route get 127.0.0.9 | head -1 | sed "s/ *uid.*//"' << 'END'
local 127.0.0.9 dev lo src 127.0.0.1
END
ip route get 8.8.8.8 2>&1 | grep -q unreachable
ip -s -j link | python3 -c 'import json, sys; lo, = json.load(sys.stdin); assert lo["stats64"]["rx"]["bytes"] == 0 and "UP" in lo["flags"]'
ip addr del 10.1.2.3/24 dev lo
same 'ip -4 -o addr | cut -d" " -f2-7' << 'END'
lo    inet 127.0.0.1/8
END
ip link set lo mtu 1500 txqueuelen 7
same 'ip link | head -1 | cut -d" " -f4-' << 'END'
mtu 1500 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 7
END
ip link show dev eth9 2>&1 | grep -q 'does not exist'
ip monitor link > /tmp/monitor & monitor=$!
until grep -qE "^[0-9a-f]+ 0 +$monitor +[0-9a-f]*[1-9a-f]" /proc/net/netlink; do sleep 0.05; done # it listens
ip link set lo down
until grep -q 'lo: <LOOPBACK>' /tmp/monitor; do sleep 0.05; done
kill $monitor
python3 - << 'END'
import fcntl, socket, struct
assert socket.if_nameindex() == [(1, "lo")] and socket.if_nametoindex("lo") == 1 and socket.if_indextoname(1) == "lo"
assert socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_NUMERICHOST | socket.AI_ADDRCONFIG)
with socket.socket(socket.AF_UNIX) as s:
    flags, = struct.unpack_from("H", fcntl.ioctl(s, 0x8913, b"lo".ljust(40, b"\0")), 16)
    assert flags & 1 == 0 and flags & 8, flags
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
    s.bind((0, 0))
    assert s.getsockname()[0] > 0
END
if command -v go > /dev/null; then
    mkdir -p /tmp/go && cd /tmp/go
    printf 'package main\nimport ("fmt"; "net")\nfunc main() {\n\tall, err := net.Interfaces()\n\tif err != nil { panic(err) }\n\taddrs, err := net.InterfaceAddrs()\n\tif err != nil { panic(err) }\n\tfmt.Println(all[0].Name, all[0].Index, all[0].MTU, all[0].Flags, addrs)\n}\n' > main.go
    test "$(HOME=/tmp GOFLAGS=-mod=mod GO111MODULE=off go run main.go)" = 'lo 1 1500 loopback [127.0.0.1/8]'
fi
echo ok

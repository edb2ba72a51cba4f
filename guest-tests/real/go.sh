# go: goroutines, timers, preemption, signals, processes, files; the compiler itself, too.
set -eu
export HOME=/root GOCACHE=/tmp/gocache GOFLAGS=-mod=mod GO111MODULE=off
mkdir -p /tmp/g && cd /tmp/g
cat > main.go <<'G'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func() { defer wg.Done(); time.Sleep(time.Millisecond); mu.Lock(); n++; mu.Unlock() }()
	}
	wg.Wait()
	c := make(chan int)
	go func() { for i := 0; i < 10000; i++ { c <- i }; close(c) }()
	s := 0
	for v := range c { s += v }
	t := time.NewTicker(2 * time.Millisecond)
	for i := 0; i < 5; i++ { <-t.C }
	t.Stop()
	stop := false
	go func() { for !stop { } }() // never yields: wants preemption by signals
	for i := 0; i < 5; i++ { runtime.GC() }
	stop = true
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	<-sig
	out, err := exec.Command("echo", "child").Output()
	if err != nil || string(out) != "child\n" { panic(err) }
	if err := os.WriteFile("/tmp/g/f", make([]byte, 1<<20), 0600); err != nil { panic(err) }
	r, w, _ := os.Pipe()
	go func() { w.Write([]byte("x")); w.Close() }()
	b := make([]byte, 1)
	r.Read(b)
	defer func() { recover(); fmt.Println(n, s, runtime.NumCPU() > 0) }()
	var p *int
	*p = 1
}
G
go build -o main main.go
for i in 1 2 3; do timeout 20 ./main | grep -qx '1000 49995000 true'; done
echo ok

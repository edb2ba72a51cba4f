# Programs on a terminal: bash -i with job control, vim, top, htop, less, script, tmux, screen; keys, signals, changes of size.
set -eu
cat > /tmp/terminal.py <<'P'
import fcntl, os, pty, re, select, struct, sys, termios, time

class Terminal:
    def __init__(self, *command, rows=24, cols=80, env={}):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({'TERM': 'xterm', 'PS1': '@> ', **env})
            self.fd = 0
            self.resize(rows, cols)
            os.execvp(command[0], command)
        self.seen = ''
    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
    def send(self, text): os.write(self.fd, text.encode())
    def take(self, wait):
        if not select.select([self.fd], [], [], wait)[0]: return False
        try: data = os.read(self.fd, 65536)
        except OSError: return None # EIO: the other side is gone
        self.seen += data.decode(errors='replace')
        return bool(data) or None
    def expect(self, pattern, wait=20):
        until = time.monotonic() + wait
        while not (found := re.search(pattern, self.seen)):
            left = until - time.monotonic()
            if left <= 0 or self.take(left) is None and not re.search(pattern, self.seen):
                sys.exit(f'{pattern!r} did not come; seen: {self.seen!r}')
        self.seen = self.seen[found.end():]
        return found
    def line(self, text, pattern):
        self.send(text + '\n')
        return self.expect(pattern)
    def end(self, status=0):
        while self.take(20): pass
        _, ended = os.waitpid(self.pid, 0)
        os.close(self.fd)
        assert status in (None, os.waitstatus_to_exitcode(ended)), (ended, self.seen)

def shell():
    t = Terminal('bash', '--norc', '-i')
    t.expect('@> ')
    t.line('tty; stty size', r'/dev/pts/\d+\r\n24 80\r\n.*@> ')
    t.line('sleep 60', '\r\n'); time.sleep(0.2); t.send('\x1a'); t.expect('Stopped.*sleep 60'); t.expect('@> ')
    t.line('jobs', r'\[1\]\+ +Stopped +sleep 60')
    t.line('bg; jobs', 'Running +sleep 60')
    t.line('fg', 'sleep 60\r\n'); time.sleep(0.2); t.send('\x03'); t.expect('@> ')
    t.line('echo status $?', 'status 130'); t.expect('@> ')
    t.line('cat', '\r\n'); time.sleep(0.2); t.line('echoed', 'echoed\r\nechoed\r\n'); t.send('\x04'); t.expect('@> ')
    t.line('sleep 60 | cat', '\r\n'); time.sleep(0.2); t.send('\x1c'); t.expect('Quit'); t.expect('@> ')
    t.line('trap "echo changed; stty size" WINCH', '@> ')
    t.resize(40, 132); t.send('\n'); t.expect('changed\r\n40 132')
    t.line('read -s -p "secret: " x; echo; echo got $x', 'secret: '); time.sleep(0.1); t.line('word', 'got word'); t.expect('@> ')
    t.line('cat /dev/tty & sleep 0.3; jobs', r'Stopped.*cat /dev/tty'); t.expect('@> ') # SIGTTIN
    t.line('stty tostop; echo x & wait; sleep 0.2; jobs', 'Stopped.*echo x'); t.expect('@> ') # SIGTTOU
    t.line('kill %1 %2; fg %1 2>&1; fg %2 2>&1; stty -tostop', '@> ')
    t.line('( trap "echo hangup > /tmp/hup" HUP; while :; do sleep 0.05; done ) &', '@> ')
    t.line('ec\t hi there', 'ec.*hi there') # completion must not hurt
    t.send('\x15\x1b[A'); t.send('\x15\n'); t.expect('@> ')
    os.close(t.fd) # the terminal goes: the shell and its jobs get SIGHUP
    _, ended = os.waitpid(t.pid, 0)
    for _ in range(100):
        if os.path.exists('/tmp/hup'): return
        time.sleep(0.05)
    sys.exit('no SIGHUP for the jobs')

def editor():
    t = Terminal('vim.tiny', '-u', 'NONE', '/tmp/edited')
    t.expect('/tmp/edited'); t.send('ihello from vim'); t.expect('vim'); t.send('\x1b'); t.send('yy9p')
    t.resize(50, 100); t.expect('49;1H'); t.send(':set columns?\r'); t.expect('columns=100')
    t.send('\x1a') # a session leader without a shell above is an orphan: nothing stops it
    t.send(':wq\r'); t.end()
    assert open('/tmp/edited').read() == 'hello from vim\n' * 10

def viewers():
    t = Terminal('top', '-d', '0.2'); t.expect('load average'); t.expect(r'%Cpu'); t.expect('COMMAND'); t.resize(10, 60); t.expect('load average'); t.send('q'); t.end()
    t = Terminal('htop', '-d', '2'); t.expect('Load average|Tasks'); t.send('q'); t.end()
    t = Terminal('less', '/tmp/lines'); t.expect('20\r'); t.send('G'); t.expect('END'); t.send('q'); t.end()
    t = Terminal('watch', '-n', '0.1', 'echo', 'watched'); t.expect('watched'); t.send('\x03'); t.end(None)
    t = Terminal('python3', '-q'); t.expect('>>> '); t.line('6*7', '42'); t.expect('>>> '); time.sleep(0.1); t.send('\x03'); t.expect('KeyboardInterrupt'); t.expect('>>> '); time.sleep(0.1); t.send('\x04'); t.end()
    t = Terminal('script', '-q', '-c', 'stty size; exit 5', '-e', '/tmp/typescript'); t.expect('24 80'); t.end(5)
    t = Terminal('openssl', 'version'); t.expect('OpenSSL'); t.end()

for part in shell, editor, viewers:
    print(part.__name__, flush=True); part()
P
seq 500 > /tmp/lines
timeout 120 python3 /tmp/terminal.py
# Terminal multiplexers: a server behind a unix socket with terminals of its own.
export TERM=xterm PS1='@> '
tmux -L t new-session -d -x 80 -y 24 'bash --norc -i'
tmux -L t send-keys 'echo in $((40 + 2)) tmux; tty' Enter
for i in $(seq 100); do tmux -L t capture-pane -p | grep -q 'in 42 tmux' && break; sleep 0.05; done
tmux -L t capture-pane -p | grep -q 'in 42 tmux'
tmux -L t split-window -d 'sleep 60'
test "$(tmux -L t list-panes | wc -l)" = 2
tmux -L t kill-server
mkdir -p -m 755 /run/screen && chmod 755 /run/screen
screen -dmS s bash --norc
for i in $(seq 100); do screen -ls | grep -q '\.s' && break; sleep 0.05; done
screen -S s -p 0 -X stuff $'echo in screen > /tmp/screened\n'
for i in $(seq 100); do test -s /tmp/screened && break; sleep 0.05; done
grep -q 'in screen' /tmp/screened
screen -S s -X quit
echo ok

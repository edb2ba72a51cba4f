# perl: fork, pipes, regular expressions, files, sockets, select.
set -eu
perl -e 'my $s = 0; $s += $_ for 1..100000; die unless $s == 5000050000;'
perl -e 'for my $n (1..20) { my $p = fork; if (!$p) { exit $n } waitpid $p, 0; die "status $?" unless $? >> 8 == $n }'
test "$(perl -e 'open my $p, "-|", "seq 100" or die; my @l = <$p>; print scalar @l')" = 100
perl -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; if (!fork) { syswrite $b, "hi"; exit } sysread $a, my $x, 2; die unless $x eq "hi"; wait'
perl -e '$SIG{ALRM} = sub { print "alarm\n"; exit 0 }; alarm 1; sleep 10' | grep -qx alarm
printf 'a=1\nb=2\n' | perl -ne 'print "$2$1\n" if /(\w)=(\d)/' | grep -qx 2b
perl -MFile::Temp -MFile::Find -e 'my $d = File::Temp->newdir; for (1..50) { open my $f, ">", "$d/$_" or die; print $f $_ } my $n = 0; find(sub { $n++ if -f }, $d); die unless $n == 50'
perl -MPOSIX -e 'die unless POSIX::strftime("%Y", gmtime 0) eq "1970"; my ($r, $w) = POSIX::pipe(); POSIX::write($w, "abc", 3); POSIX::read($r, my $x, 3); die unless $x eq "abc"'
perl -MIO::Select -e 'pipe my $r, my $w; my $s = IO::Select->new($r); die if $s->can_read(0.05); syswrite $w, "x"; die unless $s->can_read(1)'
echo ok

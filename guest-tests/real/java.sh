# java: compiler, JIT, garbage collection, threads.
set -eu
mkdir -p /tmp/j && cd /tmp/j
cat > Main.java <<'J'
import java.util.*; import java.util.concurrent.*; import java.nio.file.*;
public class Main {
    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
    public static void main(String[] a) throws Exception {
        System.out.println("Hello, world");
        if (fib(32) != 2178309) throw new Error("fib");
        List<byte[]> keep = new ArrayList<>();
        for (int i = 0; i < 3000; i++) { byte[] b = new byte[100_000]; b[i % 1000] = 1; if (i % 100 == 0) keep.add(b); }
        System.gc();
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Integer>> f = new ArrayList<>();
        for (int i = 0; i < 50; i++) { int n = i; f.add(pool.submit(() -> { Thread.sleep(1); return n * n; })); }
        int s = 0; for (var x : f) s += x.get(); if (s != 40425) throw new Error("pool");
        pool.shutdown();
        Path p = Files.createTempFile("j", ""); Files.writeString(p, "text"); if (!Files.readString(p).equals("text")) throw new Error("file");
        Process c = new ProcessBuilder("echo", "child").start(); if (!new String(c.getInputStream().readAllBytes()).equals("child\n") || c.waitFor() != 0) throw new Error("child");
        try { Object o = null; o.hashCode(); throw new Error("no exception"); } catch (NullPointerException e) { }
        try { deep(0); throw new Error("no overflow"); } catch (StackOverflowError e) { }
        System.out.println(Runtime.getRuntime().availableProcessors() + " " + ProcessHandle.current().pid());
    }
    static int deep(int n) { return deep(n + 1) + 1; }
}
J
javac Main.java
java -Xmx256m Main | head -1 | grep -qx 'Hello, world'
java -XX:+UseSerialGC -Xmx64m Main > out && test "$(wc -l < out)" = 2
echo ok

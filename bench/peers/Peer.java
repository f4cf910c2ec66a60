import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.apache.pulsar.broker.qos.AsyncTokenBucket;
import org.apache.pulsar.broker.qos.FinalRateAsyncTokenBucketBuilder;

/**
 * Apache Pulsar's AsyncTokenBucket in the loops of ../peers_bench.c, which has the manual: for each
 * line "ROW CLOCK THREADS SECONDS" it answers "ops admitted wall_ns cpu_ns".
 *
 * The clock is chosen at the start, once, so that every call in the loops has one target only, as
 * in a broker: "nano" is the class's own default, System.nanoTime at each call; "cached" is the
 * 8 ms clock of Pulsar before 4.0.3, whose class is looked up by name because later ones lack it.
 *
 * A bucket is charged whether it has tokens or not: that is how the class works.
 */
public final class Peer {
    private static final long RATE = 10_000_000_000L;
    private static final long THROTTLED_RATE = 1_000_000L;
    private static final long MILLION_RATE = 10_000_000L;
    private static final int TURN = 4096;
    private static final int BUCKETS = 1 << 20;
    private static final long BYTES = 16;
    private static final long CLOCK_STEP_NS = TimeUnit.MILLISECONDS.toNanos(8);

    /** TURN operations; returns how many were admitted. */
    private interface Loop {
        long turn();
    }

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static Object clock; // null: the default
    private static AsyncTokenBucket[] million;
    private static volatile boolean stop;

    private static AsyncTokenBucket bucket(long rate) throws ReflectiveOperationException {
        FinalRateAsyncTokenBucketBuilder b = AsyncTokenBucket.builder().rate(rate).capacity(2 * rate)
                .initialTokens(2 * rate);
        if (clock != null) {
            Class<?> type = Class.forName("org.apache.pulsar.broker.qos.MonotonicSnapshotClock");
            b.getClass().getMethod("clock", type).invoke(b, clock);
        }
        return b.build();
    }

    private static long hot(AsyncTokenBucket b) {
        long admitted = 0;
        for (int i = 0; i < TURN; i++) {
            if (b.consumeTokensAndCheckIfContainsTokens(1)) {
                admitted++;
            }
        }
        return admitted;
    }

    private static long six(AsyncTokenBucket[] b) {
        long admitted = 0;
        for (int i = 0; i < TURN; i++) {
            boolean ok = b[0].consumeTokensAndCheckIfContainsTokens(1);
            ok &= b[1].consumeTokensAndCheckIfContainsTokens(BYTES);
            ok &= b[2].consumeTokensAndCheckIfContainsTokens(1);
            ok &= b[3].consumeTokensAndCheckIfContainsTokens(BYTES);
            ok &= b[4].consumeTokensAndCheckIfContainsTokens(1);
            ok &= b[5].consumeTokensAndCheckIfContainsTokens(BYTES);
            if (ok) {
                admitted++;
            }
        }
        return admitted;
    }

    /** Any of the million, by any thread. */
    private static final class Million implements Loop {
        private long x;

        Million(int thread) {
            x = 0x9e3779b97f4a7c15L * (thread + 1);
        }

        @Override
        public long turn() {
            long admitted = 0;
            for (int i = 0; i < TURN; i++) {
                x ^= x << 13;
                x ^= x >>> 7;
                x ^= x << 17;
                int at = (int) ((x >>> 32) * BUCKETS >>> 32);
                if (million[at].consumeTokensAndCheckIfContainsTokens(1)) {
                    admitted++;
                }
            }
            return admitted;
        }
    }

    private static Loop[] loops(String row, int threads) throws ReflectiveOperationException {
        Loop[] loops = new Loop[threads];
        AsyncTokenBucket b = bucket(row.equals("throttled") ? THROTTLED_RATE : RATE);
        AsyncTokenBucket[] path = new AsyncTokenBucket[6];
        for (int i = 0; i < path.length; i++) {
            path[i] = bucket(RATE);
        }
        for (int t = 0; t < threads; t++) {
            switch (row) {
                case "hot":
                case "throttled":
                    loops[t] = () -> hot(b);
                    break;
                case "six":
                    loops[t] = () -> six(path);
                    break;
                case "million":
                    loops[t] = new Million(t);
                    break;
                default:
                    throw new IllegalArgumentException("no row " + row);
            }
        }
        return loops;
    }

    private static final class Worker extends Thread {
        private final Loop loop;
        private final CyclicBarrier begin;
        private long ops;
        private long admitted;
        private long cpuNs;
        private long beginNs;
        private long endNs;

        Worker(Loop loop, CyclicBarrier begin) {
            this.loop = loop;
            this.begin = begin;
        }

        @Override
        public void run() {
            try {
                begin.await();
            } catch (InterruptedException | BrokenBarrierException e) {
                throw new IllegalStateException(e);
            }
            beginNs = System.nanoTime();
            long from = THREADS.getCurrentThreadCpuTime();
            while (!stop) {
                admitted += loop.turn();
                ops += TURN;
            }
            cpuNs = THREADS.getCurrentThreadCpuTime() - from;
            endNs = System.nanoTime();
        }
    }

    private static String run(String row, int threads, double seconds) throws Exception {
        CyclicBarrier begin = new CyclicBarrier(threads + 1);
        Loop[] loops = loops(row, threads);
        Worker[] workers = new Worker[threads];
        stop = false;
        for (int t = 0; t < threads; t++) {
            workers[t] = new Worker(loops[t], begin);
            workers[t].start();
        }
        begin.await();
        Thread.sleep((long) (seconds * 1000));
        stop = true;
        long ops = 0;
        long admitted = 0;
        long cpuNs = 0;
        long beginNs = Long.MAX_VALUE; // not this thread's: it may get the CPU late
        long endNs = Long.MIN_VALUE;
        for (Worker w : workers) {
            w.join();
            beginNs = Math.min(beginNs, w.beginNs);
            endNs = Math.max(endNs, w.endNs);
            ops += w.ops;
            admitted += w.admitted;
            cpuNs += w.cpuNs;
        }
        return ops + " " + admitted + " " + (endNs - beginNs) + " " + cpuNs;
    }

    private static long usedBytes() {
        Runtime r = Runtime.getRuntime();
        for (int i = 0; i < 3; i++) {
            System.gc();
        }
        return r.totalMemory() - r.freeMemory();
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("cached")) {
            LongSupplier nanos = System::nanoTime;
            clock = Class.forName("org.apache.pulsar.broker.qos.DefaultMonotonicSnapshotClock")
                    .getConstructor(long.class, LongSupplier.class).newInstance(CLOCK_STEP_NS, nanos);
        } else if (args.length != 1 || !args[0].equals("nano")) {
            System.err.println("Peer nano|cached");
            System.exit(2);
        }
        million = new AsyncTokenBucket[BUCKETS];
        bucket(RATE).consumeTokensAndCheckIfContainsTokens(1); // what it needs once is loaded
        long before = usedBytes();
        for (int i = 0; i < BUCKETS; i++) {
            million[i] = bucket(MILLION_RATE);
        }
        double perBucket = (double) (usedBytes() - before) / BUCKETS;
        System.out.printf("ready %.1f%n", perBucket); // bytes, without the array's reference
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            String[] word = line.split(" ");
            System.out.println(run(word[0], Integer.parseInt(word[2]), Double.parseDouble(word[3])));
        }
        System.exit(0); // the cached clock's thread would keep it alive
    }
}

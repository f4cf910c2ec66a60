// A client program for the interoperability tests, with the official Java client. Its command line, the messages it
// sends and the JSON line it prints are those of ../go/main.go; ../README.md describes them.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.SubscriptionType;

public class LoadClient {

    /** The words of the command line, each with its value. */
    static class Options {
        private final Map<String, String> values = new HashMap<>();

        Options(String[] words) {
            for (int i = 0; i + 1 < words.length; i += 2) {
                values.put(words[i].replaceFirst("^--?", ""), words[i + 1]);
            }
        }

        String text(String name, String otherwise) {
            return values.getOrDefault(name, otherwise);
        }

        int number(String name, int otherwise) {
            return values.containsKey(name) ? Integer.parseInt(values.get(name)) : otherwise;
        }

        double seconds(String name, double otherwise) {
            return values.containsKey(name) ? Double.parseDouble(values.get(name)) : otherwise;
        }

        boolean on(String name) {
            return text(name, "off").equals("on");
        }
    }

    /** A message is its counter, a blank, and bytes that follow from both. */
    static byte[] body(int counter, int size) {
        byte[] head = (counter + " ").getBytes(StandardCharsets.US_ASCII);
        byte[] b = Arrays.copyOf(head, Math.max(size, head.length));
        for (int i = head.length; i < b.length; i++) {
            b[i] = (byte) ('a' + (counter + i + i / 256) % 26);
        }
        return b;
    }

    /** The counter, or -1 where the bytes are not those that were sent. */
    static int counterOf(byte[] b) {
        int end = 0;
        while (end < b.length && b[end] != ' ') {
            end++;
        }
        try {
            int counter = Integer.parseInt(new String(b, 0, end, StandardCharsets.US_ASCII));
            return Arrays.equals(body(counter, b.length), b) ? counter : -1;
        } catch (NumberFormatException e) {
            return -1;
        }
    }

    /** Numbers in the order in which they came, as runs that go up by one. */
    static class Runs {
        private final List<int[]> runs = new ArrayList<>();

        void add(int n) {
            int[] last = runs.isEmpty() ? null : runs.get(runs.size() - 1);
            if (last != null && last[1] == n - 1) {
                last[1] = n;
            } else {
                runs.add(new int[] {n, n});
            }
        }

        @Override
        public String toString() {
            return runs.stream().map(Arrays::toString).collect(Collectors.joining(",", "[", "]"));
        }
    }

    /** What came of a producer's messages. Callbacks come from the client's threads. */
    static class Result {
        final long beginNs;
        private int sent;
        private int answered;
        private final Runs ok = new Runs();
        private final Runs failed = new Runs();
        private final Map<String, Integer> failures = new TreeMap<>();
        private final List<Integer> perSecond = new ArrayList<>();
        private final List<Double> latencies = new ArrayList<>();

        Result(long beginNs) {
            this.beginNs = beginNs;
        }

        synchronized void sending() {
            sent++;
        }

        synchronized int pending() {
            return sent - answered;
        }

        synchronized void done(int counter, long startedNs, Throwable error) {
            long now = System.nanoTime();
            answered++;
            if (error != null) {
                Throwable cause = error instanceof CompletionException ? error.getCause() : error;
                failed.add(counter);
                failures.merge(cause.getClass().getSimpleName(), 1, Integer::sum);
                return;
            }
            ok.add(counter);
            int second = (int) ((now - beginNs) / 1_000_000_000L);
            while (perSecond.size() <= second) {
                perSecond.add(0);
            }
            perSecond.set(second, perSecond.get(second) + 1);
            latencies.add((now - startedNs) / 1e6);
        }

        private double at(double share) {
            return latencies.isEmpty() ? 0 : latencies.get((int) (share * (latencies.size() - 1)));
        }

        synchronized String report() {
            Collections.sort(latencies);
            String kinds = failures.entrySet().stream().map(e -> "\"" + e.getKey() + "\": " + e.getValue())
                    .collect(Collectors.joining(", ", "{", "}"));
            return String.format(Locale.ROOT, "{\"sent\": %d, \"ok\": %s, \"failed\": %s, \"failures\": %s, \"pending\": %d, "
                    + "\"per_second\": %s, \"ms\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}}",
                    sent, ok, failed, kinds, sent - answered, perSecond, at(0.5), at(0.99), at(1));
        }
    }

    static void sleepUntil(long ns) throws InterruptedException {
        long left = ns - System.nanoTime();
        if (left > 0) {
            TimeUnit.NANOSECONDS.sleep(left);
        }
    }

    static Producer<byte[]> newProducer(PulsarClient client, Options o, String topic, boolean plain) throws Exception {
        ProducerBuilder<byte[]> b = client.newProducer().topic(topic).blockIfQueueFull(true)
                .enableBatching(!plain && o.on("batching")).batchingMaxMessages(o.number("batch", 1000))
                .batchingMaxPublishDelay((long) (o.seconds("batch-delay", 0.005) * 1e6), TimeUnit.MICROSECONDS)
                .sendTimeout((int) (o.seconds("send-timeout", 0) * 1000), TimeUnit.MILLISECONDS);
        if (o.number("window", 1000) > 0) { // otherwise the client's default: bounded by its memory only
            b.maxPendingMessages(o.number("window", 1000));
        }
        if (!plain && o.on("chunking")) {
            b.enableChunking(true);
        }
        return b.create();
    }

    /** Sends until told to stop or count are sent, at rate a second, or as fast as the client takes it where that is 0. */
    static class Sender extends Thread {
        final Producer<byte[]> producer;
        final Result result;
        final int size;
        final int count;
        final double rate;
        volatile boolean stopping;

        Sender(Producer<byte[]> producer, long beginNs, int size, double rate, int count) {
            this.producer = producer;
            this.result = new Result(beginNs);
            this.size = size;
            this.rate = rate;
            this.count = count;
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                for (int n = 0; !stopping && (count == 0 || n < count); n++) {
                    if (rate > 0) {
                        sleepUntil(result.beginNs + (long) (n / rate * 1e9));
                    }
                    int counter = n;
                    byte[] body = body(counter, size);
                    long started = System.nanoTime();
                    result.sending();
                    producer.sendAsync(body).whenComplete((id, error) -> result.done(counter, started, error));
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    static String load(PulsarClient client, Options o) throws Exception {
        String topic = o.text("topic", "");
        List<Producer<byte[]>> producers = new ArrayList<>();
        for (int i = 0; i < o.number("producers", 1); i++) {
            producers.add(newProducer(client, o, i > 0 ? topic + "-" + i : topic, false));
        }
        String neighbour = o.text("neighbour-topic", "");
        Producer<byte[]> other = neighbour.isEmpty() ? null : newProducer(client, o, neighbour, true);
        long begin = System.nanoTime();
        List<Sender> senders = new ArrayList<>();
        for (Producer<byte[]> p : producers) {
            senders.add(new Sender(p, begin, o.number("size", 1000), o.seconds("rate", 0), o.number("count", 0)));
        }
        List<Sender> all = new ArrayList<>(senders);
        Sender b = other == null ? null : new Sender(other, begin, 100, o.seconds("rate-b", 200), 0);
        if (b != null) {
            all.add(0, b);
        }
        System.out.println("{\"ready\": true}");
        all.forEach(Thread::start);
        if (o.number("count", 0) > 0 && b == null) {
            for (Sender s : all) {
                s.join();
            }
        } else {
            TimeUnit.NANOSECONDS.sleep((long) (o.seconds("seconds", 10) * 1e9));
        }
        all.forEach(s -> s.stopping = true);
        long end = System.nanoTime() + (long) (o.seconds("drain", 30) * 1e9);
        while (System.nanoTime() < end && all.stream().anyMatch(s -> s.result.pending() > 0)) {
            Thread.sleep(5);
        }
        String more = senders.stream().skip(1).map(s -> s.result.report()).collect(Collectors.joining(", ", "[", "]"));
        return "{\"a\": " + senders.get(0).result.report() + (senders.size() > 1 ? ", \"more\": " + more : "")
                + (b == null ? "" : ", \"b\": " + b.result.report()) + "}";
    }

    static String consume(PulsarClient client, Options o) throws Exception {
        boolean shared = o.text("subscription-type", "exclusive").equals("shared");
        Runs got = new Runs();
        int damaged = 0;
        try (Consumer<byte[]> c = client.newConsumer().topic(o.text("topic", ""))
                .subscriptionName(o.text("subscription", "s"))
                .subscriptionType(shared ? SubscriptionType.Shared : SubscriptionType.Exclusive)
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest).subscribe()) {
            System.out.println("{\"ready\": true}");
            for (int n = 0; n < o.number("consume", 0); n++) {
                Message<byte[]> m = c.receive((int) (o.seconds("seconds", 10) * 1000), TimeUnit.MILLISECONDS);
                if (m == null) {
                    break;
                }
                int counter = counterOf(m.getData());
                if (counter >= 0) {
                    got.add(counter);
                } else {
                    damaged++;
                }
                c.acknowledge(m);
            }
        }
        return "{\"received\": " + got + ", \"damaged\": " + damaged + "}";
    }

    public static void main(String[] words) throws Exception {
        Options o = new Options(words);
        PulsarClient client = PulsarClient.builder().serviceUrl(o.text("url", ""))
                .operationTimeout(20, TimeUnit.SECONDS).build();
        System.out.println(o.number("consume", 0) > 0 ? consume(client, o) : load(client, o));
        System.out.flush();
        Runtime.getRuntime().halt(0); // producers may have messages that nobody waits for any more
    }
}

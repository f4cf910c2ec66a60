// A client program for the interoperability tests, the same for every version of the official Go client: build.sh
// compiles it against each. Its command line, the messages it sends and the JSON line it prints are those of
// ../java/LoadClient.java; ../README.md describes them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/pulsar-client-go/pulsar"
)

type options struct {
	url, topic, neighbour, subscription, subscriptionType string
	rate, rateB, seconds, drain, sendTimeout, batchDelay  float64
	count, consume, producers, size, window, batch        int
	batching, chunking                                    string
}

func parse() options {
	var o options
	flag.StringVar(&o.url, "url", "", "")
	flag.StringVar(&o.topic, "topic", "", "")
	flag.StringVar(&o.neighbour, "neighbour-topic", "", "")
	flag.Float64Var(&o.rate, "rate", 0, "")
	flag.Float64Var(&o.rateB, "rate-b", 200, "")
	flag.Float64Var(&o.seconds, "seconds", 10, "")
	flag.IntVar(&o.count, "count", 0, "")
	flag.IntVar(&o.producers, "producers", 1, "")
	flag.IntVar(&o.size, "size", 1000, "")
	flag.IntVar(&o.window, "window", 1000, "")
	flag.StringVar(&o.batching, "batching", "off", "")
	flag.IntVar(&o.batch, "batch", 1000, "")
	flag.Float64Var(&o.batchDelay, "batch-delay", 0.005, "")
	flag.StringVar(&o.chunking, "chunking", "off", "")
	flag.Float64Var(&o.sendTimeout, "send-timeout", 0, "")
	flag.Float64Var(&o.drain, "drain", 30, "")
	flag.IntVar(&o.consume, "consume", 0, "")
	flag.StringVar(&o.subscription, "subscription", "s", "")
	flag.StringVar(&o.subscriptionType, "subscription-type", "exclusive", "")
	flag.Parse()
	return o
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "load: %s: %v\n", what, err)
	os.Exit(1)
}

// A message is its counter, a blank, and bytes that follow from both.
func body(counter, size int) []byte {
	b := append(make([]byte, 0, size), strconv.Itoa(counter)...)
	b = append(b, ' ')
	for i := len(b); i < size; i++ {
		b = append(b, byte('a'+(counter+i+i/256)%26))
	}
	return b
}

// The counter, or -1 where the bytes are not those that were sent.
func counterOf(b []byte) int {
	counter, err := strconv.Atoi(strings.SplitN(string(b[:indexOr(b, len(b))]), " ", 2)[0])
	if err != nil || string(body(counter, len(b))) != string(b) {
		return -1
	}
	return counter
}

func indexOr(b []byte, otherwise int) int {
	for i, c := range b {
		if c == ' ' {
			return i
		}
	}
	return otherwise
}

// Numbers in the order in which they came, as runs that go up by one.
type runs [][2]int

func (r *runs) add(n int) {
	if last := len(*r) - 1; last >= 0 && (*r)[last][1] == n-1 {
		(*r)[last][1] = n
	} else {
		*r = append(*r, [2]int{n, n})
	}
}

// What came of a producer's messages. Callbacks come from the client's goroutines.
type result struct {
	lock      sync.Mutex
	begin     time.Time
	sent      int
	ok        runs
	failed    runs
	failures  map[string]int
	perSecond []int
	latencies []float64
	answered  int
}

func newResult(begin time.Time) *result {
	return &result{begin: begin, failures: map[string]int{}}
}

func (r *result) done(counter int, started time.Time, err error) {
	now := time.Now()
	r.lock.Lock()
	defer r.lock.Unlock()
	r.answered++
	if err != nil {
		r.failed.add(counter)
		r.failures[err.Error()]++
		return
	}
	r.ok.add(counter)
	second := int(now.Sub(r.begin).Seconds())
	for len(r.perSecond) <= second {
		r.perSecond = append(r.perSecond, 0)
	}
	r.perSecond[second]++
	r.latencies = append(r.latencies, now.Sub(started).Seconds()*1000)
}

func (r *result) pending() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.sent - r.answered
}

func (r *result) report() map[string]interface{} {
	r.lock.Lock()
	defer r.lock.Unlock()
	sort.Float64s(r.latencies)
	at := func(share float64) float64 {
		if len(r.latencies) == 0 {
			return 0
		}
		return r.latencies[int(share*float64(len(r.latencies)-1))]
	}
	return map[string]interface{}{
		"sent": r.sent, "ok": nonNil(r.ok), "failed": nonNil(r.failed), "failures": r.failures,
		"pending": r.sent - r.answered, "per_second": append([]int{}, r.perSecond...),
		"ms": map[string]float64{"p50": at(0.5), "p99": at(0.99), "max": at(1)},
	}
}

func nonNil(r runs) runs { return append(runs{}, r...) }

func newProducer(client pulsar.Client, o options, topic string) pulsar.Producer {
	po := pulsar.ProducerOptions{
		Topic: topic, MaxPendingMessages: o.window, DisableBatching: o.batching != "on",
		BatchingMaxMessages: uint(o.batch), BatchingMaxPublishDelay: seconds(o.batchDelay),
		SendTimeout: seconds(o.sendTimeout),
	}
	if o.sendTimeout == 0 {
		po.SendTimeout = -1
	}
	if o.chunking == "on" {
		enableChunking(&po)
	}
	p, err := client.CreateProducer(po)
	if err != nil {
		fail("producer of "+topic, err)
	}
	return p
}

// Sends until stop is closed or count are sent, at rate a second, or as fast as the client takes it where that is 0.
func send(p pulsar.Producer, r *result, o options, rate float64, count int, stop chan struct{}) {
	for n := 0; count == 0 || n < count; n++ {
		if rate > 0 {
			time.Sleep(time.Until(r.begin.Add(seconds(float64(n) / rate))))
		}
		select {
		case <-stop:
			return
		default:
		}
		counter, started := n, time.Now()
		r.lock.Lock()
		r.sent++
		r.lock.Unlock()
		p.SendAsync(context.Background(), &pulsar.ProducerMessage{Payload: body(counter, o.size)},
			func(_ pulsar.MessageID, _ *pulsar.ProducerMessage, err error) { r.done(counter, started, err) })
	}
}

func load(client pulsar.Client, o options) map[string]interface{} {
	producers := []pulsar.Producer{}
	for i := 0; i < o.producers; i++ {
		topic := o.topic
		if i > 0 {
			topic += "-" + strconv.Itoa(i)
		}
		producers = append(producers, newProducer(client, o, topic))
	}
	begin := time.Now()
	stop := make(chan struct{})
	results := []*result{}
	var sending sync.WaitGroup
	start := func(p pulsar.Producer, po options, rate float64, count int) *result {
		r := newResult(begin)
		results = append(results, r)
		sending.Add(1)
		go func() {
			defer sending.Done()
			send(p, r, po, rate, count, stop)
		}()
		return r
	}
	report := map[string]interface{}{}
	var b *result
	if o.neighbour != "" {
		ob := o
		ob.batching, ob.chunking, ob.size = "off", "off", 100
		b = start(newProducer(client, ob, o.neighbour), ob, o.rateB, 0)
	}
	fmt.Println(`{"ready": true}`)
	all := []*result{}
	for _, p := range producers {
		all = append(all, start(p, o, o.rate, o.count))
	}
	if o.count > 0 && b == nil {
		sending.Wait()
	} else {
		time.Sleep(seconds(o.seconds))
	}
	close(stop)
	for end := time.Now().Add(seconds(o.drain)); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, r := range results {
			left += r.pending()
		}
		if left == 0 {
			break
		}
	}
	report["a"] = all[0].report()
	if len(all) > 1 {
		more := []interface{}{}
		for _, r := range all[1:] {
			more = append(more, r.report())
		}
		report["more"] = more
	}
	if b != nil {
		report["b"] = b.report()
	}
	return report
}

func consume(client pulsar.Client, o options) map[string]interface{} {
	kinds := map[string]pulsar.SubscriptionType{"exclusive": pulsar.Exclusive, "shared": pulsar.Shared}
	c, err := client.Subscribe(pulsar.ConsumerOptions{
		Topic: o.topic, SubscriptionName: o.subscription, Type: kinds[o.subscriptionType],
		SubscriptionInitialPosition: pulsar.SubscriptionPositionEarliest,
	})
	if err != nil {
		fail("consumer of "+o.topic, err)
	}
	fmt.Println(`{"ready": true}`)
	got, damaged := runs{}, 0
	for n := 0; n < o.consume; n++ {
		// seconds without any message end it
		ctx, cancel := context.WithTimeout(context.Background(), seconds(o.seconds))
		m, err := c.Receive(ctx)
		cancel()
		if err != nil {
			break
		}
		if counter := counterOf(m.Payload()); counter >= 0 {
			got.add(counter)
		} else {
			damaged++
		}
		c.Ack(m)
	}
	c.Close()
	return map[string]interface{}{"received": got, "damaged": damaged}
}

func main() {
	o := parse()
	client, err := pulsar.NewClient(pulsar.ClientOptions{URL: o.url, OperationTimeout: 20 * time.Second})
	if err != nil {
		fail("client", err)
	}
	var report map[string]interface{}
	if o.consume > 0 {
		report = consume(client, o)
	} else {
		report = load(client, o)
	}
	line, err := json.Marshal(report)
	if err != nil {
		fail("report", err)
	}
	fmt.Println(string(line)) // producers may have messages that nobody waits for any more: the client is not closed
}

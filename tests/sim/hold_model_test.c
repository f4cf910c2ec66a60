/* A producer under a limit far below what its client sends, with the real gate, hold and pause set,
 * and models of the clients that were tried: those that keep order, those whose PRODUCER overtakes
 * what they sent before (Go), and those that also send again without a lock (Go before 0.17).
 * Delays of the wire, the disk and the client are random; time-outs at the client, a busy store and
 * changes of the limit come in between.
 *
 * The oracle: what is stored is what was sent, each once, in order, but for what failed at the
 * client; each has one receipt, in order; no client is told what would make it drop its connection
 * or hang. And each rule of hold.h, taken out, is seen to break that. */
#include "sim/sim.h"
#include "throttle/gate.h"
#include "throttle/hold.h"

enum kind { ORDERLY, OVERTAKES, UNLOCKED, KINDS };

enum rule {
    NONE,
    RECEIPTS_KEPT_WHILE_CLOSED,
    CLOSED_ONCE,
    DISCARDED_UNTIL_READY,
    READY_WHEN_NOTHING_IS_OWED,
    RESUME_POINT,
    RECEIPTS_KEPT_AFTER_READY,
};

enum { WIRE = 1 << 14, SENT_MAX = 60000, WINDOW_MAX = 300, STEPS = 6000, REST = 60000 };

enum word { SEND, PRODUCER, RECEIPT, CLOSE, NOT_READY, READY };

struct event {
    enum word word;
    int id;
    int64_t at_ns;
};

struct wire { /* one direction: in order */
    struct event e[WIRE];
    unsigned first, end;
    int64_t last_ns;
};

struct client {
    enum kind kind;
    int window, head, tail; /* pending: [head, tail) */
    bool closed, waits;     /* CLOSE_PRODUCER came; PRODUCER was sent */
    int64_t registers_ns;   /* when it will be */
    int channel[WIRE];      /* of Go: frames on their way to the socket */
    unsigned channel_first, channel_end;
    int again, again_end; /* what is to be sent again, step by step */
    int receipts;         /* the next one's id at least */
    bool failed[SENT_MAX];
};

struct model {
    uint64_t rng;
    int64_t now_ns;
    enum rule broken;
    struct client c;
    struct wire up, down;
    struct gate gate;
    struct hold hold;
    struct pause_set pause;
    int parked[WINDOW_MAX * 4], n_parked, allowance;
    struct event in_flight[WIRE]; /* at_ns: when it is stored */
    unsigned in_flight_first, in_flight_end;
    int kept[WIRE], n_kept;
    bool store_is_busy;
    double tokens, per_step;
    int last_stored;
    int holds, late, violations;
};

static bool chance(struct model *m, int one_in)
{
    return rng_next(&m->rng) % (uint64_t)one_in == 0;
}

/* With nothing broken, there is none. */
#define VIOLATION(m, ...)                                                                          \
    do {                                                                                           \
        SIM_CHECK((m)->broken != NONE, __VA_ARGS__);                                               \
        (m)->violations++;                                                                         \
    } while (0)

static void put(struct model *m, struct wire *w, enum word word, int id)
{
    int64_t at_ns = m->now_ns + rng_between(&m->rng, 0, 5 * MONO_MS);
    w->last_ns = at_ns > w->last_ns ? at_ns : w->last_ns;
    SIM_CHECK(w->end - w->first < WIRE, "the wire is too short");
    w->e[w->end++ % WIRE] = (struct event){word, id, w->last_ns};
}

static bool get(struct model *m, struct wire *w, struct event *e)
{
    if (w->first == w->end || w->e[w->first % WIRE].at_ns > m->now_ns)
        return false;
    *e = w->e[w->first++ % WIRE];
    return true;
}

/* ---- the broker ---- */

static void advance(struct model *m);

static void say(struct model *m, enum word word)
{
    put(m, &m->down, word, 0);
}

static void tell(struct model *m)
{
    for (int i = 0; i < m->n_kept; i++)
        put(m, &m->down, RECEIPT, m->kept[i]);
    m->n_kept = 0;
}

static void append(struct model *m, int id)
{
    if (id <= m->last_stored) {
        VIOLATION(m, "%d stored after %d", id, m->last_stored);
        return;
    }
    for (int i = m->last_stored + 1; i < id; i++)
        if (!m->c.failed[i])
            VIOLATION(m, "%d is lost: %d stored after %d", i, id, m->last_stored);
    m->last_stored = id;
    m->tokens -= 1;
    int64_t at_ns = m->now_ns + rng_between(&m->rng, 0, 3 * MONO_MS);
    struct event *before = &m->in_flight[(m->in_flight_end - 1) % WIRE];
    if (m->in_flight_end != m->in_flight_first && before->at_ns > at_ns)
        at_ns = before->at_ns;
    m->in_flight[m->in_flight_end++ % WIRE] = (struct event){SEND, id, at_ns};
}

static bool keeps(const struct model *m)
{
    if (m->broken == RECEIPTS_KEPT_WHILE_CLOSED && m->hold.state == HOLD_CLOSED)
        return false;
    if (m->broken == RECEIPTS_KEPT_AFTER_READY && m->hold.state == HOLD_RELEASED)
        return false;
    return hold_keeps_receipts(&m->hold);
}

static void stored(struct model *m)
{
    while (m->in_flight_first != m->in_flight_end) {
        struct event *e = &m->in_flight[m->in_flight_first % WIRE];
        if (e->at_ns > m->now_ns)
            return;
        m->in_flight_first++;
        if (keeps(m))
            m->kept[m->n_kept++] = e->id;
        else
            put(m, &m->down, RECEIPT, e->id);
    }
    advance(m);
}

static bool is_owed(const struct model *m)
{
    return m->n_parked > 0 || m->in_flight_first != m->in_flight_end;
}

static struct gate_facts facts_of(const struct model *m)
{
    bool owed = is_owed(m) && m->broken != READY_WHEN_NOTHING_IS_OWED;
    return (struct gate_facts){
        .parked = m->n_parked > 0 && m->broken != READY_WHEN_NOTHING_IS_OWED,
        .parking_full = m->n_parked > m->allowance && m->n_parked > 1,
        .parking_low = m->n_parked <= m->allowance / 2,
        .may_hold = hold_suits(m->gate.reasons) && hold_may_begin(&m->hold),
        .must_hold = m->hold.wants_again,
        .may_release = !hold_is_held(&m->hold) || hold_may_release(&m->hold, owed, m->now_ns),
    };
}

static void begin(struct model *m)
{
    struct parking_amount owed = {(uint64_t)m->n_parked, (uint64_t)m->n_parked};
    hold_begin(&m->hold, owed, m->now_ns);
    say(m, CLOSE);
    if (m->broken == CLOSED_ONCE && chance(m, 4))
        say(m, CLOSE);
    m->holds++;
}

static void advance(struct model *m)
{
    enum gate_action a;
    if (m->broken == READY_WHEN_NOTHING_IS_OWED && m->hold.state == HOLD_REGISTERED)
        gate_clear(&m->gate, REASON_TOPIC);
    while ((a = gate_advance(&m->gate, facts_of(m), m->now_ns)) != GATE_NOTHING) {
        if (a == GATE_PAUSE_SOCKET)
            pause_set_add_producer(&m->pause);
        if (a == GATE_RESUME_SOCKET || a == GATE_RESUME_AND_END || a == GATE_RESUME_AND_HOLD)
            pause_set_remove_producer(&m->pause);
        if (a == GATE_HOLD_PRODUCER || a == GATE_RESUME_AND_HOLD)
            begin(m);
        if (a == GATE_RELEASE_AND_END) {
            hold_release(&m->hold, m->now_ns);
            say(m, READY);
        }
    }
}

static void park(struct model *m, int id)
{
    if (m->n_parked == WINDOW_MAX * 4) {
        VIOLATION(m, "more is parked than was ever outstanding");
        return;
    }
    m->parked[m->n_parked++] = id;
    if (!m->gate.reasons)
        gate_set(&m->gate, m->store_is_busy ? REASON_PUBLISH_BUFFER : REASON_TOPIC);
    advance(m);
}

static bool is_taken(struct model *m, int id)
{
    enum hold_state was = m->hold.state;
    switch (hold_frame(&m->hold, (struct hold_position){(uint64_t)id, -1}, 1, 1, m->now_ns)) {
    case HOLD_TAKE:
        return true;
    case HOLD_DISCARD:
        m->late += was == HOLD_RELEASED;
        if (m->broken == DISCARDED_UNTIL_READY && was == HOLD_REGISTERED)
            return true;
        return m->broken == RESUME_POINT && was == HOLD_RELEASED;
    case HOLD_DISOBEYED: /* a slow wire is no disobedience */
        SIM_CHECK(m->broken != NONE, "a client that obeys was sent away");
        break;
    }
    return false;
}

static void grant(struct model *m)
{
    int n = 0;
    while (n < m->n_parked && m->tokens > 0 && !m->store_is_busy)
        append(m, m->parked[n++]);
    memmove(m->parked, m->parked + n, sizeof m->parked[0] * (size_t)(m->n_parked - n));
    m->n_parked -= n;
    gate_clear_all(&m->gate);
    if (m->n_parked > 0)
        gate_set(&m->gate,
                 m->store_is_busy && m->tokens > 0 ? REASON_PUBLISH_BUFFER : REASON_TOPIC);
    advance(m);
}

static void read_socket(struct model *m)
{
    struct event e;
    while (!pause_set_is_paused(&m->pause) && get(m, &m->up, &e)) {
        if (e.word == PRODUCER) {
            if (hold_registered(&m->hold, m->now_ns))
                say(m, NOT_READY);
            tell(m);
            advance(m);
        } else if (is_taken(m, e.id)) {
            if (m->gate.step == GATE_OPEN && m->tokens > 0 && !m->store_is_busy)
                append(m, e.id);
            else
                park(m, e.id);
        }
    }
}

static void broker_step(struct model *m)
{
    m->tokens = m->tokens + m->per_step > 50 ? 50 : m->tokens + m->per_step;
    if (chance(m, m->store_is_busy ? 5 : 200))
        m->store_is_busy = !m->store_is_busy;
    switch (hold_due(&m->hold, m->now_ns)) {
    case HOLD_TELL:
        tell(m);
        break;
    case HOLD_FORGET:
        SIM_CHECK(m->broken != NONE, "a client that came back was forgotten");
        break;
    default:
        break;
    }
    stored(m);
    grant(m);
    read_socket(m);
    SIM_CHECK((m->pause.producers > 0) == (m->gate.step == GATE_PAUSE), "paused at another step");
    SIM_CHECK(hold_is_held(&m->hold) == (m->gate.step == GATE_HOLD), "held at another step");
}

/* ---- the client ---- */

static void transmit(struct model *m, int id)
{
    struct client *c = &m->c;
    if (c->kind == ORDERLY)
        put(m, &m->up, SEND, id);
    else
        c->channel[c->channel_end++ % WIRE] = id;
}

/* Go's run loop: it takes from the channel when it likes, and a PRODUCER goes past it. */
static void drain_channel(struct model *m)
{
    struct client *c = &m->c;
    for (int64_t n = rng_between(&m->rng, 0, 40); n > 0 && c->channel_first != c->channel_end; n--)
        put(m, &m->up, SEND, c->channel[c->channel_first++ % WIRE]);
}

/* What is first in the list of what waits for a receipt: one that sends again without a lock takes
 * from its beginning and puts to its end. */
static int first_pending(const struct client *c)
{
    bool rotates = c->kind == UNLOCKED && c->again < c->again_end;
    return rotates ? c->again : c->head;
}

static void take_receipt(struct model *m, int id)
{
    struct client *c = &m->c;
    if (c->closed && !c->waits) {
        VIOLATION(m, "receipt %d of a producer that is closed", id);
        return;
    }
    while (c->receipts < c->tail && c->failed[c->receipts])
        c->receipts++;
    if (id < c->receipts && c->failed[id])
        return; /* it was given up */
    if (id != c->receipts)
        VIOLATION(m, "receipt %d instead of %d", id, c->receipts);
    if (id != first_pending(c))
        VIOLATION(m, "receipt %d, and %d is first", id, first_pending(c));
    c->receipts = id + 1;
    if (id >= c->head)
        c->head = id + 1;
    if (c->again < c->head)
        c->again = c->head;
}

static void hear(struct model *m)
{
    struct client *c = &m->c;
    struct event e;
    while (get(m, &m->down, &e)) {
        switch (e.word) {
        case RECEIPT:
            take_receipt(m, e.id);
            break;
        case CLOSE:
            if (c->closed)
                VIOLATION(m, "closed twice: it hangs");
            c->closed = true;
            c->waits = false;
            c->again = c->again_end = c->head;
            c->registers_ns = m->now_ns + rng_between(&m->rng, 0, 20 * MONO_MS);
            break;
        case READY:
            c->closed = c->waits = false;
            c->again = c->head;
            c->again_end = c->tail;
            break;
        default:
            break;
        }
    }
}

static void send_again(struct model *m)
{
    struct client *c = &m->c;
    int64_t n = c->kind == UNLOCKED ? rng_between(&m->rng, 1, 60) : WIRE;
    for (; n > 0 && c->again < c->again_end; n--)
        transmit(m, c->again++);
}

static void client_step(struct model *m, bool ends)
{
    struct client *c = &m->c;
    hear(m);
    if (c->closed && !c->waits && m->now_ns >= c->registers_ns) {
        c->waits = true;
        put(m, &m->up, PRODUCER, 0);
    }
    send_again(m);
    int64_t more = ends ? 0 : rng_between(&m->rng, 0, 20);
    for (; more > 0 && c->tail - c->head < c->window && c->again == c->again_end; more--) {
        if (!c->closed)
            transmit(m, c->tail);
        c->tail++;
        if (!c->closed)
            c->again = c->again_end = c->tail;
    }
    drain_channel(m);
    if (chance(m, 3000) && c->again == c->again_end && !ends) { /* all of it times out */
        for (; c->head < c->tail; c->head++)
            c->failed[c->head] = true;
        c->again = c->again_end = c->head;
    }
}

/* ---- runs ---- */

static uint64_t holds_seen, late_seen;

static int run(uint64_t seed, enum kind kind, enum rule broken)
{
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->rng = seed * UINT64_C(0x2545f4914f6cdd1d) + kind;
    m->now_ns = MONO_S;
    m->broken = broken;
    m->c.kind = kind;
    m->c.window = (int)rng_between(&m->rng, 1, WINDOW_MAX);
    m->allowance = (int)rng_between(&m->rng, 0, m->c.window);
    m->per_step = (double)rng_between(&m->rng, 1, 200) / 100;
    m->last_stored = -1;
    gate_init(&m->gate);
    hold_init(&m->hold, chance(m, 2) ? HOLD_SPACING_NS : 0);
    int steps = 0;
    for (; steps < STEPS + REST && m->violations == 0; steps++) {
        bool ends = steps >= STEPS || m->c.tail > SENT_MAX - 2 * WINDOW_MAX;
        if (chance(m, 2000) || ends)
            m->per_step = ends ? 5 : (double)rng_between(&m->rng, 1, 200) / 100;
        m->now_ns += rng_between(&m->rng, 0, 2 * MONO_MS);
        broker_step(m);
        client_step(m, ends);
        if (ends && m->c.head == m->c.tail && m->gate.step == GATE_OPEN && steps >= STEPS)
            break;
    }
    if (m->violations == 0 && steps == STEPS + REST)
        VIOLATION(m, "it never ends: %d to %d wait for a receipt, step %s, hold %d", m->c.head,
                  m->c.tail, gate_step_name(m->gate.step), m->hold.state);
    holds_seen += (uint64_t)m->holds;
    late_seen += (uint64_t)m->late;
    int violations = m->violations;
    free(m);
    return violations;
}

static void every_kind(uint64_t seed)
{
    for (int kind = 0; kind < KINDS; kind++)
        run(seed, (enum kind)kind, NONE);
}

static void test_every_message_once_in_order_with_one_receipt(void **state)
{
    (void)state;
    holds_seen = late_seen = 0;
    for_each_seed(every_kind, 150);
    assert_true(holds_seen > 0);
    assert_true(late_seen > 0);
}

static int found; /* violations */
static enum rule rule;
static enum kind of_whom;

static void without_a_rule(uint64_t seed)
{
    found += run(seed, of_whom, rule);
}

static void expect_broken(enum rule r, enum kind k)
{
    rule = r;
    of_whom = k;
    found = 0;
    for_each_seed(without_a_rule, 80);
    assert_true(found > 0);
}

static void test_each_rule_is_needed(void **state)
{
    (void)state;
    expect_broken(RECEIPTS_KEPT_WHILE_CLOSED, ORDERLY);
    expect_broken(CLOSED_ONCE, ORDERLY);
    expect_broken(DISCARDED_UNTIL_READY, OVERTAKES);
    expect_broken(READY_WHEN_NOTHING_IS_OWED, ORDERLY);
    expect_broken(RESUME_POINT, OVERTAKES);
    expect_broken(RECEIPTS_KEPT_AFTER_READY, UNLOCKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_once_in_order_with_one_receipt),
        cmocka_unit_test(test_each_rule_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

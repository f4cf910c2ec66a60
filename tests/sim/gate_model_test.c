/* Model-based: several producers of one connection, reasons set and cleared, frames parked and
 * sent, holds begun and ended in every order, against an oracle that knows only what should be true
 * at rest: a gate is open iff nothing keeps it; the socket is read iff nobody wants it unread;
 * nobody makes it unread who can be held. Holds with clients that answer: hold_model_test.c. */
#include "sim/sim.h"
#include "throttle/gate.h"
#include "throttle/hold.h"

enum { PRODUCERS = 3, STEPS = 2000, ALLOWANCE = 6, REASONS = 4 /* few: all are gone at times */ };

struct model_producer {
    struct gate gate;
    uint32_t reasons; /* the oracle's own set */
    int parked;       /* frames */
    bool crowded_out; /* others have used up the parking budget */
    bool pauses;      /* it is counted in the pause_set */
    bool obeys;       /* its client may be held */
    struct hold hold;
    int in_flight; /* frames stored, not yet acknowledged */
    bool held;     /* by the oracle: CLOSE_PRODUCER was said, ready = true was not */
    uint64_t next_id;
    int64_t opened_ns, closed_sum_ns;
};

struct model {
    uint64_t rng;
    int64_t now_ns;
    struct model_producer p[PRODUCERS];
    struct pause_set set;
    uint32_t own_reasons; /* the connection's, by the oracle */
    bool reading;
    uint64_t pauses, resumes, holds;
};

static void socket_changes(struct model *m, bool read)
{
    SIM_CHECK(m->reading != read, "told to %s twice", read ? "resume" : "pause");
    m->reading = read;
    read ? m->resumes++ : m->pauses++;
}

static bool may_hold(const struct model_producer *p)
{
    return p->obeys && hold_suits(p->reasons) && hold_may_begin(&p->hold);
}

static struct gate_facts facts_of(const struct model *m, const struct model_producer *p)
{
    bool owed = p->parked > 0 || p->in_flight > 0;
    return (struct gate_facts){
        .parked = p->parked > 0,
        .parking_full = p->parked > 0 && (p->parked >= ALLOWANCE || p->crowded_out),
        .parking_low = p->parked < ALLOWANCE / 2,
        .may_hold = may_hold(p),
        .must_hold = p->hold.wants_again,
        .may_release = !hold_is_held(&p->hold) || hold_may_release(&p->hold, owed, m->now_ns),
    };
}

static void pause(struct model *m, struct model_producer *p)
{
    SIM_CHECK(!p->pauses, "paused twice by one producer");
    p->pauses = true;
    if (pause_set_add_producer(&m->set))
        socket_changes(m, false);
}

static void resume(struct model *m, struct model_producer *p)
{
    SIM_CHECK(p->pauses, "resumed by a producer that did not pause");
    p->pauses = false;
    if (pause_set_remove_producer(&m->set))
        socket_changes(m, true);
}

static void hold(struct model *m, struct model_producer *p)
{
    SIM_CHECK(!p->held, "held twice");
    p->held = true;
    m->holds++;
    hold_begin(&p->hold, (struct parking_amount){(uint64_t)p->parked, 0}, m->now_ns);
}

static void release(struct model *m, struct model_producer *p)
{
    SIM_CHECK(p->held || p->hold.state == HOLD_FLOWING, "released and not held");
    SIM_CHECK(p->parked == 0 && (p->in_flight == 0 || !p->held), "released before its receipts");
    if (p->held)
        hold_release(&p->hold, m->now_ns);
    p->held = false;
}

/* Advances until it rests, as an owner does. */
static void settle(struct model *m, struct model_producer *p)
{
    for (int i = 0;; i++) {
        enum gate_action a = gate_advance(&p->gate, facts_of(m, p), m->now_ns);
        SIM_CHECK(i < 4, "the gate does not come to rest");
        if (a == GATE_NOTHING)
            return;
        if (a == GATE_BEGAN)
            p->opened_ns = m->now_ns;
        if (a == GATE_PAUSE_SOCKET)
            pause(m, p);
        if (a == GATE_RESUME_SOCKET || a == GATE_RESUME_AND_END || a == GATE_RESUME_AND_HOLD)
            resume(m, p);
        if (a == GATE_HOLD_PRODUCER || a == GATE_RESUME_AND_HOLD)
            hold(m, p);
        if (a == GATE_RELEASE_AND_END)
            release(m, p);
        if (a == GATE_ENDED || a == GATE_RESUME_AND_END || a == GATE_RELEASE_AND_END)
            p->closed_sum_ns += m->now_ns - p->opened_ns;
    }
}

static void check_producer(const struct model *m, const struct model_producer *p)
{
    bool waits = p->reasons != 0 || p->parked > 0 || p->held;
    struct gate_facts f = facts_of(m, p);

    SIM_CHECK((p->gate.step == GATE_OPEN) == !waits, "step %s, reasons %x, %d parked",
              gate_step_name(p->gate.step), p->reasons, p->parked);
    SIM_CHECK(p->gate.reasons == p->reasons, "reasons %x, not %x", p->gate.reasons, p->reasons);
    SIM_CHECK(p->pauses == (p->gate.step == GATE_PAUSE), "pauses without the step");
    SIM_CHECK(p->held == hold_is_held(&p->hold), "the hold says another thing");
    SIM_CHECK(p->held == (p->gate.step == GATE_HOLD), "held at step %s",
              gate_step_name(p->gate.step));
    if (waits && f.parking_full)
        SIM_CHECK(p->pauses != p->held, "parking is full, pauses %d, held %d", p->pauses, p->held);
    SIM_CHECK(!p->pauses || !f.parking_full || !may_hold(p), "pauses, and could be held");
    if (waits && f.parking_low && !f.parking_full)
        SIM_CHECK(!p->pauses, "parking is low and the socket is not read");
    int64_t running_ns = waits ? m->now_ns - p->opened_ns : 0;
    SIM_CHECK(gate_throttled_ns(&p->gate, m->now_ns) == p->closed_sum_ns + running_ns,
              "throttled time is wrong");
}

static void check(const struct model *m)
{
    uint32_t pausing = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        check_producer(m, &m->p[i]);
        pausing += m->p[i].pauses;
    }
    SIM_CHECK(m->set.producers == pausing, "%u counted, %u pause", m->set.producers, pausing);
    SIM_CHECK(m->reading == (pausing == 0 && m->own_reasons == 0),
              "reading %d with %u producers and reasons %x", m->reading, pausing, m->own_reasons);
}

static void connection_reason(struct model *m)
{
    enum throttle_reason r =
        rng_next(&m->rng) % 2 ? REASON_CONNECTION_IN_FLIGHT : REASON_PUBLISH_BUFFER;
    if (rng_next(&m->rng) % 4 == 0) {
        m->own_reasons |= UINT32_C(1) << r;
        if (pause_set_add(&m->set, r))
            socket_changes(m, false);
    } else { /* often one that is not there: must change nothing */
        m->own_reasons &= ~(UINT32_C(1) << r);
        if (pause_set_remove(&m->set, r))
            socket_changes(m, true);
    }
}

static void close_producer(struct model *m, struct model_producer *p)
{
    p->reasons = 0;
    p->parked = 0;
    hold_drop(&p->hold);
    p->held = false;
    gate_clear_all(&p->gate);
    settle(m, p);
}

/* Frames come: those that are taken are parked while anything keeps it. */
static void frames_come(struct model *m, struct model_producer *p)
{
    for (int64_t n = rng_between(&m->rng, 1, 3); n > 0; n--) {
        if (rng_next(&m->rng) % 16 == 0) /* its client sends again, or something old */
            p->next_id -= (uint64_t)rng_between(&m->rng, 0, 3) % (p->next_id + 1);
        struct hold_position at = {p->next_id++, -1};
        enum hold_verdict v = hold_frame(&p->hold, at, 1, 1, m->now_ns);
        SIM_CHECK(!p->held || v == HOLD_DISCARD || v == HOLD_DISOBEYED, "taken from who is held");
        if (v == HOLD_DISOBEYED)
            p->parked = 0;
        /* Beyond the allowance comes only what had been received before the pause. */
        if (v == HOLD_TAKE && p->gate.step != GATE_OPEN && p->parked < 2 * ALLOWANCE)
            p->parked++;
    }
}

static void hold_events(struct model *m, struct model_producer *p)
{
    if (p->hold.state == HOLD_CLOSED && rng_next(&m->rng) % 2)
        hold_registered(&p->hold, m->now_ns);
    if (rng_next(&m->rng) % 4 == 0)
        m->now_ns += rng_between(&m->rng, 0, 3 * MONO_S); /* a time-out may be due */
    if (hold_due(&p->hold, m->now_ns) == HOLD_FORGET)
        close_producer(m, p);
}

static void act(struct model *m)
{
    struct model_producer *p = &m->p[rng_between(&m->rng, 0, PRODUCERS - 1)];
    enum throttle_reason r = (enum throttle_reason)rng_between(&m->rng, 0, REASONS - 1);

    switch (rng_between(&m->rng, 0, 13)) {
    case 0:
    case 1:
        gate_set(&p->gate, r);
        p->reasons |= UINT32_C(1) << r;
        break;
    case 2:
    case 3:
        gate_clear(&p->gate, r);
        p->reasons &= ~(UINT32_C(1) << r);
        break;
    case 4:
    case 5:
        frames_come(m, p);
        break;
    case 6:
    case 7: {
        int stored = (int)rng_between(&m->rng, 0, p->parked);
        p->parked -= stored;
        p->in_flight += stored;
        break;
    }
    case 10:
        p->in_flight = 0;
        break;
    case 11:
    case 12:
        hold_events(m, p);
        break;
    case 8:
        p->crowded_out = rng_next(&m->rng) % 2;
        break;
    default:
        if (rng_next(&m->rng) % 4 == 0)
            close_producer(m, p);
        else
            connection_reason(m);
    }
    settle(m, p);
}

static uint64_t pauses_seen, holds_seen; /* over all seeds */

static void random_walk(uint64_t seed)
{
    struct model m = {.rng = seed, .now_ns = MONO_S, .reading = true};
    for (int i = 0; i < PRODUCERS; i++) {
        gate_init(&m.p[i].gate);
        hold_init(&m.p[i].hold, rng_next(&m.rng) % 2 ? HOLD_SPACING_NS : 0);
        m.p[i].obeys = i > 0;
    }
    for (int i = 0; i < STEPS; i++) {
        m.now_ns += rng_between(&m.rng, 0, MONO_MS);
        act(&m);
        check(&m);
    }
    for (int i = 0; i < PRODUCERS; i++)
        close_producer(&m, &m.p[i]);
    for (int r = 0; r < REASON_COUNT; r++) {
        if (pause_set_remove(&m.set, (enum throttle_reason)r))
            socket_changes(&m, true);
    }
    m.own_reasons = 0;
    check(&m);
    SIM_CHECK(m.pauses == m.resumes, "%llu pauses, %llu resumes", (unsigned long long)m.pauses,
              (unsigned long long)m.resumes);
    pauses_seen += m.pauses;
    holds_seen += m.holds;
}

static void test_random_walks_agree_with_the_oracle(void **state)
{
    (void)state;
    for_each_seed(random_walk, 200);
    assert_true(pauses_seen > 0);
    assert_true(holds_seen > 0);
}

/* Visits every order in which three reasons can be cleared. */
static void test_reading_resumes_exactly_when_the_last_reason_is_gone(void **state)
{
    (void)state;
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) {
        struct pause_set set = {0};
        assert_true(pause_set_add_producer(&set));
        assert_false(pause_set_add_producer(&set));
        assert_false(pause_set_add(&set, REASON_PUBLISH_BUFFER));
        for (int k = 0; k < 3; k++) {
            bool changed = order[i][k] == 2 ? pause_set_remove(&set, REASON_PUBLISH_BUFFER)
                                            : pause_set_remove_producer(&set);
            assert_int_equal(changed, k == 2);
            assert_int_equal(pause_set_is_paused(&set), k < 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walks_agree_with_the_oracle),
        cmocka_unit_test(test_reading_resumes_exactly_when_the_last_reason_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

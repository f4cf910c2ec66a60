/* refusals.c - see refusals.h.
 *
 * Invariant: where lines are kept back a timer is armed; the number is said when their second is
 * over, by the next line or by one of its own. */
#include "broker/refusals.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/mono.h"
#include "broker/subscription.h"

enum { LINES_PER_SECOND = 5 };

static const char *const reason_text[REFUSALS] = {
    [REFUSED_OVER_RATE] = "subscribeRate",
    [REFUSED_BLOCKED] = "blocked by an administrator",
    [REFUSED_TAKEN] = "the subscription is taken",
    [REFUSED_NO_SUB] = "there is no such subscription",
    [REFUSED_FAILED] = "errors",
};

static void say_kept_back(struct timer *t, int64_t now_ns)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, refusals.timer));
    bool more = false;
    for (int i = 0; i < REFUSALS; i++) {
        struct log_gate *g = &s->refusals.gate[i];
        uint32_t n = log_gate_kept_back(g, now_ns);
        if (n > 0)
            log_info("consumers refused: %s: %" PRIu32 " lines kept back", reason_text[i], n);
        more = more || g->suppressed > 0;
    }
    if (more)
        timer_arm(s->worker, t, now_ns + MONO_S);
}

static void say_soon(struct shard *s)
{
    struct timer *t = &s->refusals.timer;
    if (timer_is_armed(t))
        return;
    timer_init(t, say_kept_back);
    timer_arm(s->worker, t, shard_now_ns(s) + MONO_S);
}

void refusal_log(enum refusal why, const struct consumer *k, const char *name, const char *text)
{
    struct shard *s = k->conn->shard;
    uint32_t kept_back;
    if (!log_gate_open(&s->refusals.gate[why], LINES_PER_SECOND, shard_now_ns(s), &kept_back)) {
        say_soon(s);
        return;
    }
    log_info("conn %" PRIu64 ": consumer %" PRIu64 " of subscription %s refused: %s (%" PRIu32
             " lines kept back)",
             k->conn->id, k->id, name, text, kept_back);
}

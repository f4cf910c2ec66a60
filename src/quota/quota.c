/* quota.c - a quota's life, and what its workers spend.
 *
 * All or none: asking comes first and at the most leases tokens, which the turn's end gives back;
 * charging cannot fail. Charged are the leases that were asked: where a limit is set or removed
 * between the two (by the control worker), the message counts as admitted before the change.
 *
 * Invariant: a lease holds tokens only while it is in its worker's list. */
#include "quota/quota.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/mono.h"

#define KEEP_NS  MONO_MS         /* as much as a lease is ahead at the most: limiter/shared.h */
#define CLOSE_NS (250 * MONO_US) /* between turns that follow each other closely */

void quota_init(struct quota *q, enum scope_kind kind, const char *name, uint32_t weight,
                uint32_t workers)
{
    memset(q, 0, sizeof *q);
    q->kind = kind;
    q->name = name;
    q->weight = weight;
    q->workers = workers;
    q->lease = xcalloc_aligned(TG_CACHE_LINE, workers, sizeof *q->lease);
    for (uint32_t i = 0; i < workers; i++)
        q->lease[i].quota = q;
    tg_shared_limit_init(&q->limit, &(struct tg_limit_spec){0}, 0, 0);
}

void quota_fini(struct quota *q)
{
    TG_ASSERT(q->queue == NULL);
    free(q->lease);
    q->lease = NULL;
}

void quota_chain_add(struct quota_chain *c, struct quota *q, int below)
{
    TG_ASSERT(c->count < QUOTA_CHAIN_MAX && below >= QUOTA_TOPIC && below < (int)c->count);
    TG_ASSERT(c->count == 0 || c->quota[c->count - 1]->kind <= q->kind);
    c->quota[c->count] = q;
    c->below[c->count++] = (int8_t)below;
}

void quota_chain_add_around(struct quota_chain *c, struct quota *q)
{
    quota_chain_add(c, q, (int)c->count - 1);
}

bool quota_chain_has(const struct quota_chain *c, const struct quota *q)
{
    bool found = false;
    for (uint32_t i = 0; i < c->count; i++)
        found = found || c->quota[i] == q;
    return found;
}

static void sum_over(const struct quota *q, uint64_t sum[3])
{
    for (int k = 0; k < 3; k++)
        sum[k] = 0;
    for (uint32_t i = 0; i < q->workers; i++)
        for (int k = 0; k < 3; k++)
            sum[k] += atomic_load_explicit(&q->lease[i].over[k], memory_order_relaxed);
}

/* What was over the limit before it changed is of no interest any more. */
static void changed(struct quota *q)
{
    sum_over(q, q->over_before);
    atomic_fetch_add_explicit(&q->changes, 1, memory_order_relaxed);
}

struct dry_run_counts quota_dry_run_counts(const struct quota *q)
{
    uint64_t now[3];
    sum_over(q, now);
    return (struct dry_run_counts){now[0] - q->over_before[0], now[1] - q->over_before[1],
                                   now[2] - q->over_before[2]};
}

bool quota_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns)
{
    if (q->source == source && tg_limit_spec_equal(&q->limit.spec, spec))
        return false;
    tg_shared_limit_retune(&q->limit, spec, initial_percent, now_ns);
    q->source = source;
    changed(q);
    return true;
}

bool quota_set_dry_run(struct quota *q, bool dry_run)
{
    if (quota_is_dry_run(q) == dry_run)
        return false;
    atomic_store_explicit(&q->dry_run, dry_run, memory_order_relaxed);
    changed(q);
    return true;
}

void quota_give_back_first(const struct quota_chain *chain, uint32_t count, struct quota_worker *w,
                           int64_t now_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        struct quota *q = chain->quota[i];
        tg_limit_lease_return(&q->lease[w->index].lease, &q->limit, now_ns);
    }
}

void quota_leased(const struct quota_worker *w, uint64_t *msgs, uint64_t *bytes)
{
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (uint32_t i = 0; i < w->asked_count; i++) {
        const struct tg_lease *l = &w->asked[i]->lease.lease;
        if (w->asked[i]->is_over || l->seen & TG_LEASE_ONCE)
            return; /* each frame by itself */
        for (int k = 0; k < 2; k++)
            least[k] = l->credit[k] < least[k] ? l->credit[k] : least[k];
    }
    *msgs = least[0] > *msgs ? least[0] : *msgs;
    *bytes = least[1] > *bytes ? least[1] : *bytes;
}

/* Its worker alone writes there. */
static void add(_Atomic uint64_t *sum, uint64_t n)
{
    uint64_t was = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, was + n, memory_order_relaxed);
}

void quota_count_over(struct quota_lease *l, uint64_t msgs, uint64_t bytes)
{
    add(&l->over[0], 1);
    add(&l->over[1], msgs);
    add(&l->over[2], bytes);
}

bool quota_count(const struct quota_chain *chain, struct quota_worker *w, uint64_t msgs,
                 uint64_t bytes, int64_t now_ns)
{
    bool over = false;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct quota *q = chain->quota[i];
        if (!quota_is_set(q))
            continue;
        struct quota_lease *l = &q->lease[w->index];
        quota_lease_used(w, l);
        l->new_msgs += msgs;
        l->new_bytes += bytes;
        if (!quota_is_dry_run(q))
            continue;
        if (tg_limit_lease_has(&l->lease, &q->limit, msgs, bytes, now_ns)) {
            tg_limit_lease_charge(&l->lease, &q->limit, msgs, bytes);
            continue;
        }
        over = true;
        quota_count_over(l, msgs, bytes);
    }
    return over;
}

/* Word by word: a reader may see half of it older than the rest by one turn. */
static void show(struct quota_meter *m)
{
    uint64_t word[sizeof m->meter / sizeof(uint64_t)];
    memcpy(word, &m->meter, sizeof word);
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++)
        atomic_store_explicit(&m->shown[i], word[i], memory_order_relaxed);
}

static double shown_rate(const struct quota_meter *m, int64_t now_ns)
{
    struct tg_meter meter;
    uint64_t word[sizeof meter / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++)
        word[i] = atomic_load_explicit(&m->shown[i], memory_order_relaxed);
    memcpy(&meter, word, sizeof meter);
    return tg_meter_rate(&meter, now_ns);
}

static void count_new(struct quota_lease *l, int64_t now_ns)
{
    tg_meter_add(&l->msgs.meter, l->new_msgs, now_ns);
    tg_meter_add(&l->bytes.meter, l->new_bytes, now_ns);
    l->new_msgs = l->new_bytes = 0;
    show(&l->msgs);
    show(&l->bytes);
}

void quota_leases_return(struct quota_worker *w, int64_t now_ns)
{
    struct quota_lease *l;
    if (w->used != NULL)
        w->returned_ns = now_ns;
    w->keeps = false;
    while ((l = w->used) != NULL) {
        w->used = l->next;
        l->is_used = false;
        tg_limit_lease_return(&l->lease, &l->quota->limit, now_ns);
        count_new(l, now_ns);
    }
}

/* Others could use what is kept: so never while somebody waits. */
static bool are_good_to_keep(const struct quota_worker *w)
{
    bool good = true;
    for (const struct quota_lease *l = w->used; l != NULL; l = l->next)
        good = good && tg_limit_lease_is_current(&l->lease, &l->quota->limit);
    return good;
}

int64_t quota_turn_end(struct quota_worker *w, int64_t now_ns)
{
    if (w->used == NULL)
        return MONO_NEVER;
    int64_t last_ns = w->keeps ? w->kept_since_ns : w->returned_ns;
    bool soon = now_ns >= last_ns && now_ns - last_ns < (w->keeps ? KEEP_NS : CLOSE_NS);
    if (!soon || !are_good_to_keep(w)) {
        quota_leases_return(w, now_ns);
        return MONO_NEVER;
    }
    if (!w->keeps)
        w->kept_since_ns = now_ns;
    w->keeps = true;
    return mono_add(w->kept_since_ns, KEEP_NS);
}

struct quota_rates quota_rates(const struct quota *q, int64_t now_ns)
{
    struct quota_rates r = {0, 0};
    for (uint32_t i = 0; i < q->workers; i++) {
        r.msgs += shown_rate(&q->lease[i].msgs, now_ns);
        r.bytes += shown_rate(&q->lease[i].bytes, now_ns);
    }
    return r;
}

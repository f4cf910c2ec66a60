/* quota.c - a quota's life, and what its workers spend.
 *
 * All or none: asking comes first and at the most leases tokens, which the turn's end gives back;
 * charging cannot fail. A limit that is set or removed between the two (by the control worker)
 * leaves a lease charged that holds nothing, or one that is given back whole: the message then
 * counts as admitted before the change.
 *
 * Invariant: a lease holds tokens only while it is in its worker's list. */
#include "quota/quota.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

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
            sum[k] += atomic_load_explicit(&q->lease[i].over_shown[k], memory_order_relaxed);
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

static void count(struct quota_worker *w, struct quota_lease *l, uint64_t msgs, uint64_t bytes,
                  int64_t now_ns)
{
    quota_lease_used(w, l);
    tg_meter_add(&l->msgs.meter, msgs, now_ns);
    tg_meter_add(&l->bytes.meter, bytes, now_ns);
}

/* Of a quota in dry run. */
static void count_over(struct quota_lease *l, uint64_t msgs, uint64_t bytes)
{
    l->over =
        (struct dry_run_counts){l->over.frames + 1, l->over.msgs + msgs, l->over.bytes + bytes};
    l->is_over = false;
}

bool quota_charge(const struct quota_chain *chain, struct quota_worker *w, uint64_t msgs,
                  uint64_t bytes, int64_t now_ns)
{
    bool over = false;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct quota *q = chain->quota[i];
        if (!quota_is_set(q))
            continue;
        struct quota_lease *l = &q->lease[w->index];
        over = over || l->is_over;
        if (l->is_over)
            count_over(l, msgs, bytes);
        else
            tg_limit_lease_charge(&l->lease, &q->limit, msgs, bytes);
        count(w, l, msgs, bytes, now_ns);
    }
    return over;
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
        count(w, l, msgs, bytes, now_ns);
        if (!quota_is_dry_run(q))
            continue;
        if (tg_limit_lease_has(&l->lease, &q->limit, msgs, bytes, now_ns)) {
            tg_limit_lease_charge(&l->lease, &q->limit, msgs, bytes);
            continue;
        }
        over = true;
        count_over(l, msgs, bytes);
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

void quota_leases_return(struct quota_worker *w, int64_t now_ns)
{
    struct quota_lease *l;
    while ((l = w->used) != NULL) {
        w->used = l->next;
        l->is_used = false;
        tg_limit_lease_return(&l->lease, &l->quota->limit, now_ns);
        show(&l->msgs);
        show(&l->bytes);
        const uint64_t over[3] = {l->over.frames, l->over.msgs, l->over.bytes};
        for (int i = 0; i < 3; i++)
            atomic_store_explicit(&l->over_shown[i], over[i], memory_order_relaxed);
    }
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

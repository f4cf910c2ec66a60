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

void quota_init(struct quota *q, enum scope_kind kind, const char *name, struct quota *parent,
                uint32_t weight, uint32_t workers)
{
    memset(q, 0, sizeof *q);
    q->kind = kind;
    q->name = name;
    q->parent = parent;
    q->weight = weight;
    q->workers = workers;
    q->lease = xcalloc_aligned(TG_CACHE_LINE, workers, sizeof *q->lease);
    for (uint32_t i = 0; i < workers; i++)
        q->lease[i].quota = q;
    tg_shared_limit_init(&q->limit, &(struct tg_limit_spec){0}, 0, 0);
    TG_ASSERT(!parent || (parent->kind >= kind && parent->workers == workers));
    TG_ASSERT(quota_chain_length(q) <= QUOTA_CHAIN_MAX);
}

void quota_fini(struct quota *q)
{
    TG_ASSERT(q->queue == NULL);
    free(q->lease);
    q->lease = NULL;
}

uint32_t quota_chain_length(const struct quota *q)
{
    uint32_t n = 0;
    for (; q; q = q->parent)
        n++;
    return n;
}

bool quota_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns)
{
    if (q->source == source && tg_limit_spec_equal(&q->limit.spec, spec))
        return false;
    tg_shared_limit_retune(&q->limit, spec, initial_percent, now_ns);
    q->source = source;
    atomic_fetch_add_explicit(&q->changes, 1, memory_order_relaxed);
    return true;
}

void quota_give_back_below(struct quota *chain, const struct quota *q, struct quota_worker *w,
                           int64_t now_ns)
{
    for (struct quota *below = chain; below != q; below = below->parent)
        tg_limit_lease_return(&below->lease[w->index].lease, &below->limit, now_ns);
}

static void count(struct quota_worker *w, struct quota_lease *l, uint64_t msgs, uint64_t bytes,
                  int64_t now_ns)
{
    quota_lease_used(w, l);
    tg_meter_add(&l->msgs.meter, msgs, now_ns);
    tg_meter_add(&l->bytes.meter, bytes, now_ns);
}

void quota_charge(struct quota *chain, struct quota_worker *w, uint64_t msgs, uint64_t bytes,
                  int64_t now_ns)
{
    for (struct quota *q = chain; q; q = q->parent) {
        if (!quota_is_set(q))
            continue;
        struct quota_lease *l = &q->lease[w->index];
        tg_limit_lease_charge(&l->lease, &q->limit, msgs, bytes);
        count(w, l, msgs, bytes, now_ns);
    }
}

void quota_count(struct quota *chain, struct quota_worker *w, uint64_t msgs, uint64_t bytes,
                 int64_t now_ns)
{
    for (struct quota *q = chain; q; q = q->parent) {
        if (quota_is_set(q))
            count(w, &q->lease[w->index], msgs, bytes, now_ns);
    }
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

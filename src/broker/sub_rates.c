/* sub_rates.c - see sub_rates.h. A table is one piece of memory with its entries by name.
 *
 * Invariants: names ascend; each entry is present; a table without entries is NULL. */
#include "broker/sub_rates.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/policy_json.h"

static const char in_row[] = "subscriptions";

struct sub_rate {
    char *name;
    struct rate_policy policy;
};

struct sub_rates {
    _Atomic uint32_t holders;
    uint32_t count;
    struct sub_rate entry[];
};

static struct sub_rates *table_new(size_t room)
{
    struct sub_rates *r = xcalloc(1, sizeof *r + room * sizeof r->entry[0]);
    atomic_init(&r->holders, 1);
    return r;
}

static void append(struct sub_rates *r, const char *name, const struct rate_policy *p)
{
    r->entry[r->count++] = (struct sub_rate){xstrdup(name), *p};
}

/* Where <name> is, or would be. */
static uint32_t place_of(const struct sub_rates *r, const char *name)
{
    uint32_t low = 0, high = r ? r->count : 0;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (strcmp(r->entry[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_at(const struct sub_rates *r, uint32_t at, const char *name)
{
    return r && at < r->count && strcmp(r->entry[at].name, name) == 0;
}

const struct rate_policy *sub_rates_find(const struct sub_rates *r, const char *name)
{
    static const struct rate_policy none;
    uint32_t at = place_of(r, name);
    return is_at(r, at, name) ? &r->entry[at].policy : &none;
}

enum tg_err sub_rates_with(const struct sub_rates *r, const char *name, const struct rate_policy *p,
                           struct sub_rates **out)
{
    uint32_t count = r ? r->count : 0, at = place_of(r, name), behind = at + is_at(r, at, name);
    uint32_t total = count - (behind - at) + p->present;
    *out = NULL;
    if (total > SUB_RATES_MAX && total > count)
        return TG_ELIMIT;
    if (total == 0)
        return TG_OK;
    struct sub_rates *n = table_new(total);
    for (uint32_t i = 0; i < at; i++)
        append(n, r->entry[i].name, &r->entry[i].policy);
    if (p->present)
        append(n, name, p);
    for (uint32_t i = behind; i < count; i++)
        append(n, r->entry[i].name, &r->entry[i].policy);
    *out = n;
    return TG_OK;
}

struct sub_rates *sub_rates_hold(struct sub_rates *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->holders, 1, memory_order_relaxed);
    return r;
}

void sub_rates_drop(struct sub_rates *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->holders, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        free(r->entry[i].name);
    free(r);
}

/* ---- rows ---- */

void sub_rates_into_row(json_t *row, const struct sub_rates *r)
{
    if (!r)
        return;
    json_t *all = json_object();
    for (uint32_t i = 0; i < r->count; i++) {
        json_t *one = json_object();
        policy_into_row(one, rate_form(RATE_OF_DISPATCH), &r->entry[i].policy);
        json_object_set_new(all, r->entry[i].name, one);
    }
    json_object_set_new(row, in_row, all);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sub_rate *)a)->name, ((const struct sub_rate *)b)->name);
}

enum tg_err sub_rates_from_row(struct sub_rates **out, const json_t *row, const char *key)
{
    json_t *all = json_object_get(row, in_row), *one;
    size_t count = json_object_size(all);
    const char *name;
    *out = NULL;
    if (count == 0)
        return TG_OK;
    struct sub_rates *r = table_new(count);
    json_object_foreach(all, name, one)
    {
        struct rate_policy p;
        enum tg_err e = policy_from_row(rate_form(RATE_OF_DISPATCH), &p, one, key);
        if (!e && !p.present) {
            log_error("metadata row %s: subscription %s has no rate", key, name);
            e = TG_ECORRUPT;
        }
        if (e) {
            sub_rates_drop(r);
            return e;
        }
        append(r, name, &p);
    }
    qsort(r->entry, r->count, sizeof r->entry[0], by_name);
    *out = r;
    return TG_OK;
}

#include "base/budget.h"

#include "base/err.h"

/* Percent of the total per kind. Parked frames get most: that memory is what keeps a throttled
 * producer from stopping its connection. The rest (about a tenth) is left to objects and code. */
static const int share_percent[BUDGET_KINDS] = {
    [BUDGET_RECEIVE] = 10, [BUDGET_INFLIGHT] = 15, [BUDGET_PARKED] = 30,
    [BUDGET_CACHE] = 15,   [BUDGET_OUTBOUND] = 15, [BUDGET_HTTP] = 5,
};

/* What is charged by force goes over the shares; at so much of the total it has to stop: first for
 * those kinds that are over their share, later for all. The rest is for objects, code, and what the
 * allocator keeps for a while. */
enum { CLOSED_PERCENT = 65, EXHAUSTED_PERCENT = 80 };

void budget_init(struct budget *b, int64_t total_bytes)
{
    b->total_bytes = total_bytes;
    for (int k = 0; k < BUDGET_KINDS; k++) {
        b->share_bytes[k] = total_bytes / 100 * share_percent[k];
        atomic_init(&b->used_bytes[k], 0);
    }
}

static void limit_share(struct budget *b, enum budget_kind kind, int64_t most)
{
    if (b->share_bytes[kind] > most)
        b->share_bytes[kind] = most;
}

void budget_limit_publishing(struct budget *b, int64_t bytes)
{
    limit_share(b, BUDGET_INFLIGHT, bytes / 3);
    limit_share(b, BUDGET_PARKED, bytes - bytes / 3);
}

bool budget_take(struct budget *b, enum budget_kind kind, int64_t n)
{
    int64_t before = atomic_fetch_add_explicit(&b->used_bytes[kind], n, memory_order_relaxed);
    if (before + n <= b->share_bytes[kind])
        return true;
    atomic_fetch_sub_explicit(&b->used_bytes[kind], n, memory_order_relaxed);
    return false;
}

void budget_force(struct budget *b, enum budget_kind kind, int64_t n)
{
    atomic_fetch_add_explicit(&b->used_bytes[kind], n, memory_order_relaxed);
}

void budget_give(struct budget *b, enum budget_kind kind, int64_t n)
{
    int64_t before = atomic_fetch_sub_explicit(&b->used_bytes[kind], n, memory_order_relaxed);
    TG_ASSERT(before >= n);
}

int64_t budget_used(const struct budget *b, enum budget_kind kind)
{
    return atomic_load_explicit(&b->used_bytes[kind], memory_order_relaxed);
}

bool budget_is_over(const struct budget *b, enum budget_kind kind)
{
    return budget_used(b, kind) >= b->share_bytes[kind];
}

static bool is_all_over(const struct budget *b, int percent)
{
    int64_t all = 0;
    for (int k = 0; k < BUDGET_KINDS; k++)
        all += budget_used(b, k);
    return all >= b->total_bytes / 100 * percent;
}

bool budget_is_exhausted(const struct budget *b)
{
    return is_all_over(b, EXHAUSTED_PERCENT);
}

bool budget_is_closed(const struct budget *b, enum budget_kind kind)
{
    return budget_used(b, kind) > b->share_bytes[kind] && is_all_over(b, CLOSED_PERCENT);
}

const char *budget_kind_name(enum budget_kind kind)
{
    static const char *const name[BUDGET_KINDS] = {
        [BUDGET_RECEIVE] = "receive", [BUDGET_INFLIGHT] = "inflight", [BUDGET_PARKED] = "parked",
        [BUDGET_CACHE] = "cache",     [BUDGET_OUTBOUND] = "outbound", [BUDGET_HTTP] = "http",
    };
    return name[kind];
}

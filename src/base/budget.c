#include "base/budget.h"

#include "base/err.h"

/* Percent of the total per kind. Parked frames get most: that memory is what keeps a throttled
 * producer from stopping its connection. The rest (about a tenth) is left to objects and code. */
static const int share_percent[BUDGET_KINDS] = {
    [BUDGET_RECEIVE] = 10, [BUDGET_INFLIGHT] = 15, [BUDGET_PARKED] = 30,
    [BUDGET_CACHE] = 15,   [BUDGET_OUTBOUND] = 15, [BUDGET_HTTP] = 5,
};

void budget_init(struct budget *b, int64_t total_bytes)
{
    b->total_bytes = total_bytes;
    for (int k = 0; k < BUDGET_KINDS; k++) {
        b->share_bytes[k] = total_bytes / 100 * share_percent[k];
        atomic_init(&b->used_bytes[k], 0);
    }
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

const char *budget_kind_name(enum budget_kind kind)
{
    static const char *const name[BUDGET_KINDS] = {
        [BUDGET_RECEIVE] = "receive", [BUDGET_INFLIGHT] = "inflight", [BUDGET_PARKED] = "parked",
        [BUDGET_CACHE] = "cache",     [BUDGET_OUTBOUND] = "outbound", [BUDGET_HTTP] = "http",
    };
    return name[kind];
}

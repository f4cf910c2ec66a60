/* message_counts.c - a monotone function kept as knots, straight in between.
 *
 * Invariant: knots are sorted by entry, the last stands for the end (one past the last entry
 * added); there is at least one. Between two neighbours that were never thinned each entry has the
 * same number of messages. */
#include "broker/message_counts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

struct knot {
    uint64_t entry;
    uint64_t before; /* messages in the entries before it, from the first knot on */
};

struct message_counts {
    struct knot *knot;
    uint32_t len, cap;
    uint32_t last_messages; /* per entry in the last segment; 0: there is none */
};

enum { KNOTS_AT_FIRST = 8 };

struct message_counts *message_counts_new(uint64_t first_entry)
{
    struct message_counts *c = xcalloc(1, sizeof *c);
    c->cap = KNOTS_AT_FIRST;
    c->knot = xmalloc(c->cap * sizeof *c->knot);
    c->knot[0] = (struct knot){.entry = first_entry};
    c->len = 1;
    return c;
}

void message_counts_free(struct message_counts *c)
{
    if (c)
        free(c->knot);
    free(c);
}

bool message_counts_is_full(const struct message_counts *c)
{
    return c->len >= MESSAGE_COUNTS_KNOTS_MAX;
}

/* Every second knot of the older half goes. */
static void thin(struct message_counts *c)
{
    uint32_t half = c->len / 2, kept = 0;
    for (uint32_t i = 0; i < half; i += 2)
        c->knot[kept++] = c->knot[i];
    memmove(c->knot + kept, c->knot + half, (c->len - half) * sizeof *c->knot);
    c->len -= half - kept;
}

static void push_knot(struct message_counts *c, struct knot k)
{
    if (message_counts_is_full(c))
        thin(c);
    if (c->len == c->cap) {
        c->cap *= 2;
        c->knot = xrealloc(c->knot, c->cap * sizeof *c->knot);
    }
    c->knot[c->len++] = k;
}

void message_counts_add(struct message_counts *c, uint64_t entry, uint32_t messages)
{
    struct knot *end = &c->knot[c->len - 1];
    TG_ASSERT(entry == end->entry);
    if (messages == c->last_messages) {
        end->entry++;
        end->before += messages;
        return;
    }
    c->last_messages = messages;
    push_knot(c, (struct knot){entry + 1, end->before + messages});
}

/* Messages before <entry>, relative to the first knot; negative before it. */
static int64_t before(const struct message_counts *c, uint64_t entry)
{
    const struct knot *k = c->knot;
    if (entry <= k[0].entry)
        return (int64_t)k[0].before - (int64_t)(k[0].entry - entry);
    if (entry >= k[c->len - 1].entry)
        return (int64_t)k[c->len - 1].before;
    uint32_t lo = 0, hi = c->len - 1; /* k[lo].entry <= entry < k[hi].entry */
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (k[mid].entry <= entry)
            lo = mid;
        else
            hi = mid;
    }
    uint64_t span = k[hi].entry - k[lo].entry, rise = k[hi].before - k[lo].before;
    unsigned __int128 part = (unsigned __int128)rise * (entry - k[lo].entry) / span;
    return (int64_t)(k[lo].before + (uint64_t)part);
}

uint64_t message_counts_between(const struct message_counts *c, uint64_t first, uint64_t end)
{
    return end > first ? (uint64_t)(before(c, end) - before(c, first)) : 0;
}

void message_counts_forget_below(struct message_counts *c, uint64_t first)
{
    uint32_t n = 0; /* knots before the last one at or below <first> */
    while (n + 1 < c->len - 1 && c->knot[n + 1].entry <= first)
        n++;
    if (n == 0)
        return;
    memmove(c->knot, c->knot + n, (c->len - n) * sizeof *c->knot);
    c->len -= n;
}

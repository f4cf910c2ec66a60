/* cursor.c - the mark-delete position and the ranges acknowledged behind it, as one sorted array.
 *
 * Invariant: next itself is not acknowledged and lies before every range; ranges are
 * sorted and neither overlap nor touch, and acked_behind is the sum of their lengths.
 * Acknowledgements come mostly in order, so work is at both ends: the array leaves at the front by
 * moving `range` forward in its block. */
#include "broker/cursor.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { RANGES_AT_FIRST = 8 };

void cursor_init(struct cursor *c, uint64_t next)
{
    *c = (struct cursor){.next = next};
}

void cursor_fini(struct cursor *c)
{
    free(c->block);
    *c = (struct cursor){.next = c->next};
}

void cursor_reset(struct cursor *c, uint64_t next)
{
    cursor_fini(c);
    c->next = next;
}

/* The first range that ends at or after <entry>; c->ranges when there is none. */
static uint32_t find_range(const struct cursor *c, uint64_t entry)
{
    uint32_t lo = 0, hi = c->ranges;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->range[mid].last < entry)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool cursor_is_acked(const struct cursor *c, uint64_t entry)
{
    if (entry < c->next)
        return true;
    uint32_t i = find_range(c, entry);
    return i < c->ranges && c->range[i].first <= entry;
}

uint64_t cursor_next_unacked(const struct cursor *c, uint64_t from)
{
    if (from <= c->next)
        return c->next;
    uint32_t i = find_range(c, from);
    return i < c->ranges && c->range[i].first <= from ? c->range[i].last + 1 : from;
}

/* Room for one more range behind the last. */
static void make_room(struct cursor *c)
{
    uint32_t lead = (uint32_t)(c->range - c->block);
    if (lead + c->ranges < c->cap)
        return;
    if (lead > c->cap / 2) { /* the front has become free */
        memmove(c->block, c->range, c->ranges * sizeof *c->range);
    } else {
        uint32_t cap = c->cap ? c->cap * 2 : RANGES_AT_FIRST;
        struct ack_range *block = xmalloc(cap * sizeof *block);
        if (c->ranges)
            memcpy(block, c->range, c->ranges * sizeof *block);
        free(c->block);
        c->block = block;
        c->cap = cap;
    }
    c->range = c->block;
}

static void insert_range(struct cursor *c, uint32_t at, uint64_t first, uint64_t last)
{
    make_room(c);
    memmove(c->range + at + 1, c->range + at, (c->ranges - at) * sizeof *c->range);
    c->range[at] = (struct ack_range){first, last};
    c->ranges++;
}

static void remove_ranges(struct cursor *c, uint32_t at, uint32_t n)
{
    if (n == 0)
        return;
    if (at == 0)
        c->range += n;
    else
        memmove(c->range + at, c->range + at + n, (c->ranges - at - n) * sizeof *c->range);
    c->ranges -= n;
    if (c->ranges == 0)
        cursor_fini(c);
}

/* next moved, or what follows it became acknowledged: takes in the ranges that it has reached. */
static void absorb(struct cursor *c)
{
    uint32_t n = 0;
    while (n < c->ranges && c->range[n].first <= c->next) {
        uint64_t len = c->range[n].last - c->range[n].first + 1;
        c->acked_behind -= len;
        if (c->range[n].last >= c->next)
            c->next = c->range[n].last + 1;
        n++;
    }
    uint64_t behind = c->acked_behind;
    remove_ranges(c, 0, n);
    c->acked_behind = behind;
}

/* first > next. Joins with every range that it overlaps or touches. */
static void ack_behind(struct cursor *c, uint64_t first, uint64_t last)
{
    uint32_t from = find_range(c, first - 1), end = from;
    uint64_t had = 0;
    while (end < c->ranges && c->range[end].first <= last + 1) {
        had += c->range[end].last - c->range[end].first + 1;
        if (c->range[end].first < first)
            first = c->range[end].first;
        if (c->range[end].last > last)
            last = c->range[end].last;
        end++;
    }
    if (end == from) {
        if (c->ranges >= CURSOR_RANGES_MAX)
            return;
        insert_range(c, from, first, last);
    } else {
        c->range[from] = (struct ack_range){first, last};
        remove_ranges(c, from + 1, end - from - 1);
    }
    c->acked_behind += last - first + 1 - had;
}

void cursor_ack_range(struct cursor *c, uint64_t first, uint64_t last)
{
    if (last < first || last < c->next)
        return;
    if (first > c->next) {
        ack_behind(c, first, last);
    } else {
        c->next = last + 1;
        absorb(c);
    }
}

bool cursor_ack(struct cursor *c, uint64_t entry)
{
    if (cursor_is_acked(c, entry))
        return false;
    cursor_ack_range(c, entry, entry);
    return cursor_is_acked(c, entry); /* false: one range too many */
}

bool cursor_ack_to(struct cursor *c, uint64_t entry)
{
    if (entry < c->next)
        return false;
    cursor_ack_range(c, c->next, entry);
    return true;
}

/* ---- as JSON ---- */

json_t *cursor_to_json(const struct cursor *c, uint32_t most_ranges)
{
    json_t *acked = json_array();
    for (uint32_t i = 0; i < c->ranges && i < most_ranges; i++) {
        json_t *pair = json_array();
        json_array_append_new(pair, json_integer((json_int_t)c->range[i].first));
        json_array_append_new(pair, json_integer((json_int_t)c->range[i].last));
        json_array_append_new(acked, pair);
    }
    json_t *j = json_object();
    json_object_set_new(j, "markDelete", json_integer((json_int_t)c->next - 1));
    json_object_set_new(j, "acked", acked);
    return j;
}

static TG_MUSTCHECK enum tg_err range_from_json(struct cursor *c, const json_t *pair)
{
    const json_t *first = json_array_get(pair, 0), *last = json_array_get(pair, 1);
    if (!json_is_integer(first) || !json_is_integer(last))
        return TG_EINVAL;
    json_int_t f = json_integer_value(first), l = json_integer_value(last);
    if (f < 0 || l < f || l == INT64_MAX)
        return TG_EINVAL;
    cursor_ack_range(c, (uint64_t)f, (uint64_t)l);
    return TG_OK;
}

enum tg_err cursor_from_json(struct cursor *c, const json_t *j)
{
    const json_t *mark = json_object_get(j, "markDelete");
    if (!json_is_integer(mark) || json_integer_value(mark) < -1 ||
        json_integer_value(mark) == INT64_MAX)
        return TG_EINVAL;
    cursor_init(c, (uint64_t)(json_integer_value(mark) + 1));
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(j, "acked"), i, pair)
    {
        enum tg_err e = range_from_json(c, pair);
        if (e) {
            cursor_fini(c);
            return e;
        }
    }
    return TG_OK;
}

/* replay.c - a set with the smallest first: the set itself is a map, beside it a heap of ids tells
 * the order. Who leaves the set stays in the heap until he comes to its top, or until more than
 * half of the heap is such: then it is built again from the set.
 *
 * Invariant: every id in the set is in the heap at least once. */
#include "broker/replay.h"

#include <stdlib.h>

#include "base/alloc.h"

enum { HEAP_AT_FIRST = 64 };

void replay_fini(struct replay *r)
{
    entry_map_fini(&r->set);
    free(r->heap);
    *r = (struct replay){0};
}

static void sift_up(struct replay *r, uint32_t i)
{
    while (i > 0) {
        uint32_t up = (i - 1) / 2;
        if (r->heap[up] <= r->heap[i])
            return;
        uint64_t t = r->heap[up];
        r->heap[up] = r->heap[i];
        r->heap[i] = t;
        i = up;
    }
}

static void sift_down(struct replay *r, uint32_t i)
{
    for (;;) {
        uint32_t least = i, l = 2 * i + 1, n = r->heap_len;
        if (l < n && r->heap[l] < r->heap[least])
            least = l;
        if (l + 1 < n && r->heap[l + 1] < r->heap[least])
            least = l + 1;
        if (least == i)
            return;
        uint64_t t = r->heap[least];
        r->heap[least] = r->heap[i];
        r->heap[i] = t;
        i = least;
    }
}

static void pop(struct replay *r)
{
    r->heap[0] = r->heap[--r->heap_len];
    sift_down(r, 0);
}

static void push(struct replay *r, uint64_t entry)
{
    if (r->heap_len == r->heap_cap) {
        r->heap_cap = r->heap_cap ? r->heap_cap * 2 : HEAP_AT_FIRST;
        r->heap = xrealloc(r->heap, r->heap_cap * sizeof *r->heap);
    }
    r->heap[r->heap_len] = entry;
    sift_up(r, r->heap_len++);
}

static void rebuild(struct replay *r)
{
    uint32_t at = 0;
    uint64_t entry;
    r->heap_len = 0;
    while (entry_map_next(&r->set, &at, &entry, NULL))
        r->heap[r->heap_len++] = entry;
    for (uint32_t i = r->heap_len / 2; i-- > 0;)
        sift_down(r, i);
}

void replay_add(struct replay *r, uint64_t entry, struct entry_info info)
{
    if (entry_map_get(&r->set, entry, NULL))
        return;
    entry_map_put(&r->set, entry, info);
    push(r, entry);
}

bool replay_first(struct replay *r, uint64_t *entry)
{
    while (r->heap_len > 0 && !replay_has(r, r->heap[0]))
        pop(r);
    if (r->heap_len == 0)
        return false;
    *entry = r->heap[0];
    return true;
}

bool replay_has(const struct replay *r, uint64_t entry)
{
    return entry_map_get(&r->set, entry, NULL);
}

uint32_t replay_run(const struct replay *r, uint64_t entry, uint32_t most)
{
    uint32_t n = 0;
    while (n < most && replay_has(r, entry + n))
        n++;
    return n;
}

bool replay_take(struct replay *r, uint64_t entry, struct entry_info *info)
{
    if (!entry_map_take(&r->set, entry, info))
        return false;
    if (r->set.len == 0)
        replay_fini(r);
    else if (r->heap_len > HEAP_AT_FIRST && r->set.len < r->heap_len / 2)
        rebuild(r);
    return true;
}

void replay_drop_below(struct replay *r, uint64_t end)
{
    uint64_t entry;
    while (replay_first(r, &entry) && entry < end)
        replay_take(r, entry, NULL);
}

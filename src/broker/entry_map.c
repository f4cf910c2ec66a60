/* entry_map.c - open addressing with linear probing; removal shifts back what had been pushed on,
 * so there are no tombstones. Ids are nearly consecutive: a multiplication spreads them.
 *
 * Invariant: at most three quarters of the slots are taken, so every probe ends at a free one; the
 * block shrinks when it is mostly empty and goes when the map is empty. */
#include "broker/entry_map.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/err.h"

enum { SLOTS_AT_FIRST = 16 };
#define FREE UINT64_MAX /* no entry has this id: it stands for "none" everywhere */

struct entry_slot {
    uint64_t entry;
    struct entry_info info;
};

static uint32_t home_of(const struct entry_map *m, uint64_t entry)
{
    return (uint32_t)((entry * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (m->cap - 1);
}

void entry_map_fini(struct entry_map *m)
{
    free(m->slot);
    *m = (struct entry_map){0};
}

/* Where <entry> is, or the free slot where it would be. cap > 0. */
static uint32_t probe(const struct entry_map *m, uint64_t entry)
{
    uint32_t i = home_of(m, entry);
    while (m->slot[i].entry != FREE && m->slot[i].entry != entry)
        i = (i + 1) & (m->cap - 1);
    return i;
}

static void resize(struct entry_map *m, uint32_t cap)
{
    struct entry_slot *old = m->slot;
    uint32_t old_cap = m->cap;
    m->slot = xmalloc(cap * sizeof *m->slot);
    m->cap = cap;
    for (uint32_t i = 0; i < cap; i++)
        m->slot[i].entry = FREE;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].entry != FREE)
            m->slot[probe(m, old[i].entry)] = old[i];
    free(old);
}

void entry_map_put(struct entry_map *m, uint64_t entry, struct entry_info info)
{
    TG_ASSERT(entry != FREE);
    if (m->cap == 0)
        resize(m, SLOTS_AT_FIRST);
    else if (m->len >= m->cap - m->cap / 4)
        resize(m, m->cap * 2);
    uint32_t i = probe(m, entry);
    if (m->slot[i].entry == FREE)
        m->len++;
    m->slot[i] = (struct entry_slot){entry, info};
}

bool entry_map_get(const struct entry_map *m, uint64_t entry, struct entry_info *info)
{
    if (m->cap == 0 || entry == FREE)
        return false;
    uint32_t i = probe(m, entry);
    if (m->slot[i].entry == FREE)
        return false;
    if (info)
        *info = m->slot[i].info;
    return true;
}

/* Closes the gap at <hole>: a later one of the same run moves in when its home allows it. */
static void shift_back(struct entry_map *m, uint32_t hole)
{
    uint32_t mask = m->cap - 1;
    for (uint32_t i = (hole + 1) & mask; m->slot[i].entry != FREE; i = (i + 1) & mask) {
        uint32_t home = home_of(m, m->slot[i].entry);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slot[hole] = m->slot[i];
            hole = i;
        }
    }
    m->slot[hole].entry = FREE;
}

bool entry_map_take(struct entry_map *m, uint64_t entry, struct entry_info *info)
{
    if (!entry_map_get(m, entry, info))
        return false;
    shift_back(m, probe(m, entry));
    m->len--;
    if (m->len == 0)
        entry_map_fini(m);
    else if (m->cap > SLOTS_AT_FIRST && m->len < m->cap / 8)
        resize(m, m->cap / 2);
    return true;
}

bool entry_map_next(const struct entry_map *m, uint32_t *at, uint64_t *entry,
                    struct entry_info *info)
{
    for (uint32_t i = *at; i < m->cap; i++) {
        if (m->slot[i].entry == FREE)
            continue;
        *entry = m->slot[i].entry;
        if (info)
            *info = m->slot[i].info;
        *at = i + 1;
        return true;
    }
    return false;
}

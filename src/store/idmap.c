/* The map from ids to pointers: linear probing over a power of two of slots, at most two thirds
 * full. Removal moves later slots back, so there are no tombstones and a miss stays short. */
#include "store/idmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

#define IDMAP_FIRST_SLOTS 16

static uint32_t home(const struct idmap *m, uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & m->mask;
}

static uint32_t find(const struct idmap *m, uint64_t id)
{
    uint32_t i = home(m, id);
    while (m->slots[i].value && m->slots[i].id != id)
        i = (i + 1) & m->mask;
    return i;
}

void *idmap_get(const struct idmap *m, uint64_t id)
{
    return m->slots ? m->slots[find(m, id)].value : NULL;
}

static void grow(struct idmap *m)
{
    struct idmap old = *m;
    uint32_t n = old.slots ? (old.mask + 1) * 2 : IDMAP_FIRST_SLOTS;
    m->slots = xcalloc(n, sizeof *m->slots);
    m->mask = n - 1;
    if (!old.slots)
        return;
    for (uint32_t i = 0; i <= old.mask; i++)
        if (old.slots[i].value)
            m->slots[find(m, old.slots[i].id)] = old.slots[i];
    free(old.slots);
}

void idmap_put(struct idmap *m, uint64_t id, void *value)
{
    if (!m->slots || (uint64_t)m->count * 3 >= (uint64_t)m->mask * 2)
        grow(m);
    uint32_t i = find(m, id);
    TG_ASSERT(!m->slots[i].value && value);
    m->slots[i] = (struct idmap_slot){id, value};
    m->count++;
}

void *idmap_take(struct idmap *m, uint64_t id)
{
    if (!m->slots)
        return NULL;
    uint32_t hole = find(m, id);
    void *value = m->slots[hole].value;
    if (!value)
        return NULL;
    m->count--;
    /* Whoever probed past the hole to get to its slot moves into it. */
    for (uint32_t i = (hole + 1) & m->mask; m->slots[i].value; i = (i + 1) & m->mask) {
        uint32_t from_home = (i - home(m, m->slots[i].id)) & m->mask;
        if (from_home >= ((i - hole) & m->mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    return value;
}

void *idmap_next(const struct idmap *m, uint32_t *at)
{
    while (m->slots && *at <= m->mask) {
        void *value = m->slots[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}

void idmap_fini(struct idmap *m)
{
    free(m->slots);
    memset(m, 0, sizeof *m);
}

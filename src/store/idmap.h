/* idmap.h - a hash map from 64-bit ids to pointers: open addressing, grows, never shrinks. Owned by
 * one thread or one lock; zero-initialise. */
#ifndef STORE_IDMAP_H
#define STORE_IDMAP_H

#include <stdint.h>

struct idmap_slot {
    uint64_t id;
    void *value; /* NULL: free */
};

struct idmap {
    struct idmap_slot *slots;
    uint32_t mask; /* slots - 1 */
    uint32_t count;
};

void *idmap_get(const struct idmap *m, uint64_t id);       /* NULL: not there */
void idmap_put(struct idmap *m, uint64_t id, void *value); /* must not be there */
void *idmap_take(struct idmap *m, uint64_t id);            /* removes; NULL: was not there */
/* Walks: start with *at = 0; NULL at the end. No change of the map in between. */
void *idmap_next(const struct idmap *m, uint32_t *at);
void idmap_fini(struct idmap *m);

#endif

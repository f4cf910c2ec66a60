/* replay.h - entries of a Shared subscription that go out again, smallest first: sent back by a
 * client or left behind by a consumer that went away. Memory only: after a restart what is not
 * acknowledged is delivered as new. Pure; one owner. */
#ifndef BROKER_REPLAY_H
#define BROKER_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/entry_map.h"

struct replay {
    struct entry_map set; /* what is in it */
    uint64_t *heap;       /* min-heap of ids; some may have left the set already */
    uint32_t heap_len, heap_cap;
};

void replay_fini(struct replay *r); /* empty and usable after it */
/* Adds it, with what is known of it; no-op when it is in already. */
void replay_add(struct replay *r, uint64_t entry, struct entry_info info);
/* The smallest; false when empty. */
bool replay_first(struct replay *r, uint64_t *entry);
/* How many ids follow each other from <entry> on, <entry> counted: at most <most>. */
uint32_t replay_run(const struct replay *r, uint64_t entry, uint32_t most);
bool replay_has(const struct replay *r, uint64_t entry);
/* Removes it; true when it was in. *info may be NULL. */
bool replay_take(struct replay *r, uint64_t entry, struct entry_info *info);
/* Removes all below <end>. */
void replay_drop_below(struct replay *r, uint64_t end);
static inline uint32_t replay_len(const struct replay *r)
{
    return r->set.len;
}

#endif

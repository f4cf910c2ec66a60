/* cursor.h - which entries of a ledger a subscription has acknowledged: a mark-delete position
 * (everything before it is acknowledged) and, behind it, ranges acknowledged one by one. A pure
 * data structure. */
#ifndef BROKER_CURSOR_H
#define BROKER_CURSOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ack_range { /* entries first..last, both acknowledged */
    uint64_t first, last;
};

struct cursor {
    uint64_t next;           /* the first entry not acknowledged: mark-delete + 1 */
    struct ack_range *range; /* sorted, disjoint, not adjacent, all behind next */
    uint32_t ranges;
    struct ack_range *block; /* what was allocated: range points into it */
    uint32_t cap;
    uint64_t acked_behind; /* entries in the ranges */
};

/* A consumer that leaves holes makes ranges: 16 MiB of them at most. What would need one more is
 * not taken as acknowledged, and so is delivered again. */
enum { CURSOR_RANGES_MAX = 1024 * 1024 };

void cursor_init(struct cursor *c, uint64_t next);
void cursor_fini(struct cursor *c);
bool cursor_is_acked(const struct cursor *c, uint64_t entry);
/* True when it was not acknowledged before, and is now. */
bool cursor_ack(struct cursor *c, uint64_t entry);
/* first..last, both: entries that are gone, or skipped. */
void cursor_ack_range(struct cursor *c, uint64_t first, uint64_t last);
/* Everything up to and including <entry>. True when something changed. */
bool cursor_ack_to(struct cursor *c, uint64_t entry);
void cursor_reset(struct cursor *c, uint64_t next);
/* The first entry at or after <from> that is not acknowledged. */
uint64_t cursor_next_unacked(const struct cursor *c, uint64_t from);

/* {"markDelete":n, "acked":[[first,last],...]} ; markDelete is next - 1, -1 for none. At most
 * <most_ranges>, the first ones. */
json_t *cursor_to_json(const struct cursor *c, uint32_t most_ranges);
TG_MUSTCHECK enum tg_err cursor_from_json(struct cursor *c, const json_t *j);

#endif

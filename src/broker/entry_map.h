/* entry_map.h - a map from entry ids to what is known of their delivery: for the entries pending at
 * a Shared consumer and for those to deliver again. Open addressing in one block: a consumer may
 * have tens of thousands, and each delivery and each acknowledgement touches it (uthash would
 * allocate for each). Pure; one owner; bounded by the limits on unacknowledged messages. */
#ifndef BROKER_ENTRY_MAP_H
#define BROKER_ENTRY_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct entry_info {
    uint32_t messages;    /* in the entry; 0: not known */
    uint32_t redelivered; /* times it has gone back */
};

struct entry_map {
    struct entry_slot *slot; /* power of two, or NULL: empty */
    uint32_t cap, len;
};

void entry_map_fini(struct entry_map *m); /* empty and usable after it */
/* Adds it or replaces what is there. */
void entry_map_put(struct entry_map *m, uint64_t entry, struct entry_info info);
bool entry_map_get(const struct entry_map *m, uint64_t entry, struct entry_info *info);
/* True when it was there; *info (may be NULL) gets what was known. */
bool entry_map_take(struct entry_map *m, uint64_t entry, struct entry_info *info);
/* Walks it in no order: start with *at = 0; false at the end. No changes meanwhile. */
bool entry_map_next(const struct entry_map *m, uint32_t *at, uint64_t *entry,
                    struct entry_info *info);

#endif

/* fetch.h - gets entries of one run from disk into memory, checked. For the readers and for copying
 * forward. Any thread; blocks. */
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/registry.h"

struct log_store;
struct ls_entry;

struct fetch {           /* where the entries of one read lie */
    struct segment *seg; /* pinned */
    uint32_t generation;
    uint64_t size_bytes;
    uint64_t ledger, first;
    uint32_t count;
    struct footer_item *items;
    uint64_t items_offset; /* where to get them from; 0: they are here already */
};

struct fetched {
    void *buffer; /* holds entries and bodies; the receiver frees it */
    uint64_t buffer_bytes;
    struct ls_entry *entries; /* each body lies behind its record's header */
    uint32_t count;
};

/* Entries of <run> of <l> from <first> on (or from the run's first), at most <most>; pins the
 * segment. With reg_lock held. */
void fetch_plan(const struct ledger *l, const struct run *run, uint64_t first, uint32_t most,
                struct fetch *out);
/* Opens the segment's file: 0 or errno. */
TG_MUSTCHECK int fetch_open(struct log_store *log, const struct fetch *f, int *fd);
/* As many entries as fit <max_bytes>, but one. On error *out has those before the bad one: TG_EIO,
 * TG_ECORRUPT (logged). */
TG_MUSTCHECK enum tg_err fetch_read(struct log_store *log, struct fetch *f, int fd,
                                    uint64_t max_bytes, struct fetched *out);
/* Unpins. */
void fetch_fini(struct log_store *log, struct fetch *f);

#endif

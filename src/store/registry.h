/* registry.h - what memory knows of the log: the ledgers, and which stretch (run) of which ledger
 * lies in which segment. Entry by entry it knows only the open segment; for a sealed one that is in
 * its footer. Everything here is called with the store's reg_lock held (or before its threads
 * start). Only what is durable comes in, so whoever reads through it can't see more.
 *
 * An entry is in one run at most: when it was copied forward, in that of the newest copy. */
#ifndef STORE_REGISTRY_H
#define STORE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/footer.h"
#include "store/idmap.h"
#include "store/record.h"
#include "store/segment.h"

struct run { /* consecutive entries of one ledger in one segment */
    struct segment *seg;
    uint64_t first;
    uint64_t bytes;      /* of records */
    uint64_t live_bytes; /* estimated in proportion when part of it is trimmed; sealed: 0 is dead */
    union {
        struct footer_item *items; /* open */
        uint64_t items_offset;     /* sealed: where its items lie in the file */
    };
    uint32_t count;
    uint32_t cap; /* open: of items */
};

struct ledger {
    uint64_t id;
    uint64_t last_entry;
    uint64_t trimmed_to;  /* entries before it may go */
    uint64_t trim_logged; /* what the log says of it */
    struct run *runs;     /* ascending, none overlaps another */
    uint32_t run_count, run_cap;
    uint32_t dead;      /* so many first runs are known to be wholly trimmed */
    uint32_t open_runs; /* of the open segment */
};

struct registry {
    struct idmap ledgers;
    struct segment *segments, **segments_tail; /* in use, ascending; not the spare */
    struct segment *newest_sealed;             /* its footer has the table of all ledgers */
    struct segment *open;
    uint32_t segment_count;
    bool look_empty;  /* a segment may have become recyclable */
    bool look_sparse; /* a segment may have become worth copying */
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r);

struct ledger *registry_ledger(const struct registry *r, uint64_t id); /* NULL: unknown */
/* Makes a ledger known from a footer's table. */
void registry_restore(struct registry *r, const struct footer_ledger *from);

void registry_add_segment(struct registry *r, struct segment *s);
/* The next entry of its ledger lies at <offset> of the open segment. TG_ECORRUPT: it is not the
 * next. */
TG_MUSTCHECK enum tg_err registry_entry(struct registry *r, const struct record *rec,
                                        uint64_t offset);
/* An entry was copied to <offset> of the open segment; where it was before it is no more. Nothing
 * happens when its ledger is gone, or when it is in the open segment already. TG_ECORRUPT: there
 * never was such an entry. */
TG_MUSTCHECK enum tg_err registry_copy(struct registry *r, const struct record *rec,
                                       uint64_t offset);
/* Any record of a group of the open segment, read back; those that say nothing here are passed
 * over. TG_ECORRUPT as above. */
TG_MUSTCHECK enum tg_err registry_apply(struct registry *r, const struct record *rec,
                                        uint64_t offset);
/* A run of a sealed segment, from its footer; it is newer than all that is known. TG_ECORRUPT: no
 * such entries were ever appended. */
TG_MUSTCHECK enum tg_err registry_sealed_run(struct registry *r, struct segment *s,
                                             const struct footer_run *run, uint64_t items_offset);
void registry_trim(struct registry *r, uint64_t ledger, uint64_t first_needed);
void registry_drop(struct registry *r, uint64_t ledger);

/* The open segment's footer: an upper bound with <more> entries on top, and the body itself
 * (malloc). */
uint64_t registry_footer_bound(const struct registry *r, uint64_t more);
uint8_t *registry_footer(const struct registry *r, uint64_t *body_len, uint64_t *head_len);
/* The footer is on disk at <footer_offset>: items leave memory, trimmed runs count as dead. */
void registry_sealed(struct registry *r, uint64_t footer_offset);

/* The next sealed segment from <from> on (NULL: from the first) that nothing needs; NULL: none. */
struct segment *registry_recyclable(struct registry *r, const struct segment *from);
/* Forgets it and what lies in it. The caller has logged the trims first. */
void registry_remove_segment(struct registry *r, struct segment *s);

/* The sealed segment from which copying the least gains the most; NULL: none is sparse enough. */
struct segment *registry_sparse(struct registry *r);
/* Walks over what of <s> is needed: the run at or behind the place, which begins as {0} and is
 * moved on. NULL: nothing is left. The caller sets <entry> behind what it has dealt with. */
struct live_place {
    uint32_t at;    /* in the segment's ledgers */
    uint64_t entry; /* of that ledger */
};
const struct run *registry_next_live(const struct registry *r, const struct segment *s,
                                     struct live_place *p, struct ledger **l);

/* What lies at or next after <first>: the run's index; run_count when nothing does. */
uint32_t ledger_find_run(const struct ledger *l, uint64_t first);

#endif

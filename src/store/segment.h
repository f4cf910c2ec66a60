/* segment.h - one file of the log, log/seg-<generation>.log. It is open (one, being appended to),
 * sealed (ends with a footer and a trailer, never written again) or the spare (empty, made ahead).
 * Files out of use are called log/free-<generation>.log and wait for their next turn. */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/faults.h"
#include "store/record.h"

#define SEG_NAME_BYTES 32

struct segment {
    struct segment *next; /* by generation */
    uint32_t generation;
    bool sealed;
    bool damaged;        /* sealed: copying it forward met an entry that does not check */
    int fd;              /* -1 when sealed: readers open it by name */
    uint64_t size_bytes; /* of the file */
    uint64_t end;        /* where the next group goes; sealed: of the data */

    /* The registry's (registry.h), under its lock. */
    uint32_t pins;       /* reads and copying going on: must keep its name and bytes */
    bool leaving;        /* the committer's: it is about to be recycled */
    uint32_t live_runs;  /* runs with an entry that somebody may need */
    uint64_t live_bytes; /* of their records, the trimmed part taken off in proportion */
    uint64_t items;      /* entries; counted while open */
    uint64_t *ledgers;   /* of its runs, each once; also of runs that are gone */
    uint32_t ledger_count, ledger_cap;
};

struct segment *segment_new(uint32_t generation, int fd, uint64_t size_bytes);
void segment_free(struct segment *s); /* closes fd */

void segment_name(char out[SEG_NAME_BYTES], uint32_t generation);
void segment_free_name(char out[SEG_NAME_BYTES], uint32_t generation);

/* The header of a segment that is about to be used: 0 or errno. */
TG_MUSTCHECK int segment_write_header(const struct ls_faults *f, int fd, uint32_t generation);
bool seg_header_ok(const struct seg_header *h, uint32_t generation);
void seg_trailer_fill(struct seg_trailer *t);
bool seg_trailer_ok(const struct seg_trailer *t, uint32_t generation, uint64_t size_bytes);

#endif

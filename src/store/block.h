/* block.h - the memory that records pass through. A port copies records into its open block; a
 * batch is a stretch of one block on its way to the disk and back; the block stays as tail cache
 * when its batches are back. A block's references are counted by its port's owner alone: the
 * committer only looks at stretches of blocks whose batch it holds. */
#ifndef STORE_BLOCK_H
#define STORE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "store/record.h"

struct log_port;

struct block {
    struct block *next; /* the port's blocks, oldest first; or its pool */
    uint32_t refs;      /* batches, holds, and one while it is in the cache's list */
    uint32_t used;      /* bytes of records */
    uint32_t committed; /* of them, on disk and charged to the cache */
    uint32_t cached;    /* entries in it that some ledger's tail shows */
    uint32_t cap;
    _Alignas(REC_ALIGN) uint8_t data[];
};

struct item { /* a record of a batch that its appender wants to hear of */
    void *ctx;
    uint32_t offset; /* in the block */
};

struct trim {
    uint64_t ledger, first_needed;
};

struct batch {
    struct batch *next;
    struct log_port *port; /* NULL: the committer's or the copier's own */
    struct block *block;   /* NULL: trims only */
    uint32_t from, to;     /* the stretch */
    bool lost;             /* comes back without having been written: the store failed */
    struct item *items;
    uint32_t count, cap; /* of items; count of the copier's: of its records */
    struct trim *trims;
    uint32_t trim_count, trim_cap;
};

struct block *block_new(uint32_t cap);
struct batch *batch_new(struct log_port *port);
void batch_free(struct batch *b);
/* Empties it for its next use; keeps the arrays. */
void batch_reset(struct batch *b);
void batch_add_item(struct batch *b, void *ctx, uint32_t offset);
void batch_add_trim(struct batch *b, uint64_t ledger, uint64_t first_needed);

#endif

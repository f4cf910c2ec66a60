/* record.h - the bytes of a segment file (docs/storage-format.md says the same in words). Integers
 * are little-endian: as the machines we build for have them. Every structure is a multiple of 8
 * bytes and lies at a multiple of 8. Pure; any thread. */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/crc32c.h"

#define REC_ALIGN      8
#define SEG_DATA_START 4096 /* the segment header has the first page for itself */
#define SEG_MAGIC      UINT64_C(0x3130304745534754) /* "TGSEG001" */
#define SEG_SEAL_MAGIC UINT64_C(0x31304c4145534754) /* "TGSEAL01" */

enum rec_type {
    REC_ENTRY = 1, /* ledger, entry, messages, admitted_ns; body */
    REC_GROUP,     /* begins a commit group. ledger: its bytes, this header included; entry: up to
                      where this segment was on disk before the group was written */
    REC_DROP,      /* ledger is deleted */
    REC_TRIM,      /* ledger; entry: those before it may go */
    REC_FOOTER,    /* body: struct footer_head and what follows it */
    REC_CLEAN,     /* the store was closed in order here */
    REC_COPY       /* an entry, as above, that was in an older segment before */
};

struct record {
    uint32_t header_crc; /* of the other 44 bytes, begun with the record's place: rec_header_crc */
    uint32_t body_crc;
    uint32_t body_len;
    uint32_t messages;
    uint64_t ledger;
    uint64_t entry;
    int64_t admitted_ns;
    uint32_t generation; /* of the segment: a recycled file is full of records of older ones */
    uint16_t type;
    uint16_t zero;
};
_Static_assert(sizeof(struct record) == 48, "on disk");

struct seg_header { /* at 0 */
    uint64_t magic;
    uint32_t generation;
    uint32_t crc; /* of magic and generation */
};
_Static_assert(sizeof(struct seg_header) == 16, "on disk");

#define SEG_UNSYNCED 1 /* sealed without a sync: LS_OS */

struct seg_trailer { /* the last bytes of a sealed segment's file */
    uint64_t magic;
    uint64_t footer_offset; /* of the footer record */
    uint64_t body_len;
    uint64_t head_len; /* of the part of the footer that is read at start */
    uint32_t head_crc;
    uint32_t generation;
    uint32_t flags; /* SEG_UNSYNCED */
    uint32_t crc;   /* of all before it */
};
_Static_assert(sizeof(struct seg_trailer) == 48, "on disk");

/* A footer's body: head, runs, ledgers (these are read at start), items (read when needed). */
struct footer_head {
    uint32_t runs, ledgers;
    uint64_t items;
};

struct footer_run { /* consecutive entries of one ledger in this segment */
    uint64_t ledger, first;
    uint64_t first_item; /* index into the items */
    uint64_t bytes;      /* of their records */
    uint32_t count, zero;
};

struct footer_ledger { /* every ledger there is, whether in this segment or not */
    uint64_t ledger, last_entry, trimmed_to;
};

struct footer_item {       /* one entry of a run */
    uint32_t offset_units; /* of its record, in units of REC_ALIGN */
    uint32_t body_len;
    uint32_t messages;
};
_Static_assert(sizeof(struct footer_head) == 16 && sizeof(struct footer_run) == 40 &&
                   sizeof(struct footer_ledger) == 24 && sizeof(struct footer_item) == 12,
               "on disk");

static inline uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static inline uint64_t rec_size(uint64_t body_len)
{
    return align_up(sizeof(struct record) + body_len, REC_ALIGN);
}

/* The place begins the checksum, so that a record found elsewhere than it was written is not one.
 */
static inline uint32_t rec_header_crc(const struct record *r, uint64_t offset)
{
    return crc32c((uint32_t)(offset / REC_ALIGN), (const uint8_t *)r + 4, sizeof *r - 4);
}

/* Places a finished record at <offset> of a segment. */
static inline void rec_stamp(struct record *r, uint32_t generation, uint64_t offset)
{
    r->generation = generation;
    r->header_crc = rec_header_crc(r, offset);
}

static inline bool rec_header_ok(const struct record *r, uint32_t generation, uint64_t offset)
{
    return r->generation == generation && r->zero == 0 && r->type >= REC_ENTRY &&
           r->type <= REC_COPY && r->header_crc == rec_header_crc(r, offset);
}

static inline bool rec_is_entry(const struct record *r)
{
    return r->type == REC_ENTRY || r->type == REC_COPY;
}

#endif

/* scan.h - walks the groups of a segment: bytes in, verdict out. */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/record.h"
#include "store/window.h"

struct scan {
    uint64_t end;       /* after the last whole group */
    uint64_t bad;       /* the first record that is none; == end or inside the group there */
    uint64_t synced;    /* the highest place that a group vouches was on disk; 0: none does */
    uint64_t stale_end; /* behind <end>, records of this generation lie below this; <= end: none */
    bool groups;        /* there is at least one group, good or behind a bad one */
};

/* Each record of a whole group, in order, group headers not included. Other than TG_OK: the scan
 * ends and returns it. */
typedef enum tg_err (*scan_fn)(void *ctx, const struct record *r, uint64_t offset);

/* TG_OK, TG_EIO (w->error says why), or what <fn> returned. <fn> may be NULL. */
TG_MUSTCHECK enum tg_err scan_segment(struct window *w, uint32_t generation, scan_fn fn, void *ctx,
                                      struct scan *out);
/* The bad record is not a torn tail: a later group was begun after it had been on disk. */
static inline bool scan_damaged(const struct scan *s)
{
    return s->synced > s->bad;
}

#endif

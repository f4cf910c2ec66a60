/* verify.h - `store verify`, the part that looks at one segment by itself. Read only; one thread.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum verify_state {
    VERIFY_GONE,   /* recycled meanwhile: nothing to say */
    VERIFY_SEALED, /* has a good footer */
    VERIFY_OPEN,   /* has none: open, or a spare */
};

struct verify_report {
    enum verify_state state;
    uint64_t entries, bytes;
    uint32_t problems, stopping; /* as in struct log_findings */
    char *text;                  /* their lines; malloc */
    uint64_t end;                /* open: behind the last whole group */
    uint64_t torn_bytes;         /* open: of a group that is not whole, no damage */
};

/* Looks at log/seg-<generation>.log. <begun_behind>: a later segment has groups, so this one should
 * be sealed. 0 or errno; the caller frees out->text. */
TG_MUSTCHECK int verify_segment(int log_fd, uint32_t generation, bool begun_behind,
                                struct verify_report *out);

#endif

/* footer.h - reads the footers of sealed segments. One thread; nothing here writes. */
#ifndef STORE_FOOTER_H
#define STORE_FOOTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/record.h"
#include "store/window.h"

struct footer {
    struct seg_trailer trailer;
    bool good;     /* trailer, and the part of the footer that is read at start */
    uint8_t *head; /* that part: struct footer_head and the next two; NULL unless good */
    uint32_t run_count, ledger_count;
    uint64_t item_count;
    const struct footer_run *runs;
    const struct footer_ledger *ledgers;
    uint64_t items_offset; /* in the file */
};

/* 0 or errno. Without a good footer there is nothing but the trailer's bytes. */
TG_MUSTCHECK int footer_read(const struct ls_faults *f, int fd, uint32_t generation,
                             uint64_t size_bytes, struct footer *out);
void footer_fini(struct footer *ft);
/* The ledgers are not needed any more: gives back their memory. */
void footer_forget_ledgers(struct footer *ft);
/* What a good footer's head does not vouch for: its record's header, and the items. */
bool footer_whole(const struct footer *ft, struct window *w);
/* NULL, or what is wrong with a run: it says what no segment of <size_bytes> can hold. */
const char *footer_run_fault(const struct footer *ft, const struct footer_run *run);

#endif

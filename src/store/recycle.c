/* Segments that nobody needs any more leave the registry and go to the spare maker.
 *
 * Invariant: a segment is recycled only after the trims that made it needless, and the copies of
 * what was needed in it, are on disk. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/committer.h"

#define FIRST_TRIMS 64

static void add_trim(struct block **blk, const struct ledger *l)
{
    if (l->trimmed_to == l->trim_logged)
        return;
    if ((*blk)->cap - (*blk)->used < sizeof(struct record)) {
        (*blk)->cap *= 2;
        *blk = xrealloc(*blk, sizeof **blk + (*blk)->cap);
    }
    struct record r = {.ledger = l->id, .entry = l->trimmed_to, .type = REC_TRIM};
    memcpy((*blk)->data + (*blk)->used, &r, sizeof r);
    (*blk)->used += (uint32_t)sizeof r;
}

static void note_logged(struct registry *reg, const struct block *blk)
{
    for (uint32_t at = 0; at < blk->used; at += (uint32_t)sizeof(struct record)) {
        const struct record *r = (const struct record *)(const void *)(blk->data + at);
        struct ledger *l = registry_ledger(reg, r->ledger);
        l->trim_logged = r->entry;
    }
}

/* Writes the trims in <blk>, which it frees. */
static enum tg_err log_trims(struct log_store *log, struct block *blk)
{
    enum tg_err e = blk->used ? open_write_own(log, blk) : TG_OK;
    if (!e)
        note_logged(&log->reg, blk);
    free(blk);
    return e;
}

enum tg_err recycle_log_trims(struct log_store *log)
{
    struct block *blk = block_new(FIRST_TRIMS * sizeof(struct record));
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&log->reg.ledgers, &at));)
        add_trim(&blk, l);
    return log_trims(log, blk);
}

/* The trims of all ledgers that have, or had, entries in <s>. */
static void add_trims_of(struct log_store *log, struct block **blk, const struct segment *s)
{
    for (uint32_t i = 0; i < s->ledger_count; i++) {
        const struct ledger *l = registry_ledger(&log->reg, s->ledgers[i]);
        if (l)
            add_trim(blk, l);
    }
}

/* The first segment that may go; NULL: none. Also tells the copier to look. */
static struct segment *look(struct log_store *log)
{
    pthread_mutex_lock(&log->reg_lock);
    struct segment *first = registry_recyclable(&log->reg, NULL);
    bool sparse = log->reg.look_sparse;
    pthread_mutex_unlock(&log->reg_lock);
    if (sparse)
        copier_look(log);
    return first;
}

/* Marks the segments from <first> on that may go and for whose trims there is room, and logs those
 * trims: a crash must not leave a hole inside a ledger. (Only this thread changes the registry; but
 * readers pin.) */
static enum tg_err log_trims_of_leaving(struct log_store *log, struct segment *first)
{
    struct block *blk = block_new(FIRST_TRIMS * sizeof(struct record));
    bool any = false;
    pthread_mutex_lock(&log->reg_lock);
    for (struct segment *s = first; s; s = registry_recyclable(&log->reg, s)) {
        uint32_t before = blk->used;
        add_trims_of(log, &blk, s);
        s->leaving = blk->used == 0 || (log->open && open_fits(log, blk->used, 0, 0));
        any = any || s->leaving;
        if (!s->leaving)
            blk->used = before;
    }
    if (!any)
        log->reg.look_empty = false; /* until the next segment begins */
    pthread_mutex_unlock(&log->reg_lock);
    return log_trims(log, blk);
}

/* Takes them out of the registry, if they may go and nobody pinned them meanwhile. */
static struct segment *remove_leaving(struct log_store *log, bool go)
{
    struct segment *out = NULL;
    pthread_mutex_lock(&log->reg_lock);
    for (struct segment *s = log->reg.segments, *next; s; s = next) {
        next = s->next;
        if (s->leaving && go && s->pins == 0) {
            registry_remove_segment(&log->reg, s);
            s->next = out;
            out = s;
        }
        s->leaving = false;
    }
    pthread_mutex_unlock(&log->reg_lock);
    return out;
}

void recycle(struct log_store *log)
{
    struct segment *first = look(log);
    if (!first)
        return;
    bool go = log_trims_of_leaving(log, first) == TG_OK;
    struct segment *s = remove_leaving(log, go);
    if (!s)
        return;
    pthread_mutex_lock(&log->lock);
    while (s) {
        struct segment *next = s->next;
        s->next = log->spare.to_free;
        log->spare.to_free = s;
        s = next;
    }
    log->spare.error = 0;
    pthread_cond_signal(&log->spare.work);
    pthread_mutex_unlock(&log->lock);
}

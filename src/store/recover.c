/* Opening a directory: footers of the sealed segments, the records of the open one, and a verdict
 * on its end. Sealed segments are not read through; their records are checked when they are read.
 *
 * A segment is sealed, on disk, before anything is written to the next. So the segments are, by
 * generation: sealed ones, then at most one that is open, then at most a spare without any group.
 * Anything else is damage, and damage stops the start: what to do with it is for people to decide.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/engine.h"
#include "store/footer.h"
#include "store/scan.h"

/* How far into a segment that should have no groups they are looked for: some groups' worth. */
#define SPARE_LOOK_BYTES (256u << 10)

struct found { /* a seg- file */
    struct segment *seg;
    struct footer footer; /* its ledgers: only of the newest sealed one */
};

static enum tg_err io_error(char **why, const char *what, uint32_t generation, int rc)
{
    char text[128], name[SEG_NAME_BYTES];
    segment_name(name, generation);
    *why = xasprintf("%s log/%s: %s", what, name, strerror_r(rc, text, sizeof text));
    return disk_err(rc);
}

static enum tg_err damage(char **why, uint32_t generation, uint64_t offset, const char *what)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, generation);
    *why =
        xasprintf("log/%s is damaged at offset %llu: %s. Put back an undamaged copy of the file; "
                  "or give up the entries in it by moving it out of the directory.",
                  name, (unsigned long long)offset, what);
    return TG_ECORRUPT;
}

/* ---- looking at the files ---- */

static enum tg_err open_segment(struct log_store *log, uint32_t generation, struct found *f,
                                char **why)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, generation);
    int fd;
    int rc = disk_open(log->faults, log->log_fd, name, O_RDWR, &fd);
    if (rc)
        return io_error(why, "opening", generation, rc);
    f->seg = segment_new(generation, fd, 0);
    struct stat st;
    struct seg_header h;
    rc = fstat(fd, &st) < 0 ? errno : disk_read(log->faults, fd, &h, sizeof h, 0);
    if (rc)
        return io_error(why, "reading", generation, rc);
    f->seg->size_bytes = (uint64_t)st.st_size;
    if (!seg_header_ok(&h, generation))
        return damage(why, generation, 0, "this is not the header of that segment");
    return TG_OK;
}

/* There may be more segments than files can be open: a sealed one's is closed. */
static enum tg_err look(struct log_store *log, uint32_t generation, struct found *f, char **why)
{
    enum tg_err e = open_segment(log, generation, f, why);
    if (e)
        return e;
    struct segment *s = f->seg;
    int rc = footer_read(log->faults, s->fd, generation, s->size_bytes, &f->footer);
    if (rc)
        return io_error(why, "reading", generation, rc);
    if (!f->footer.good)
        return TG_OK;
    if (log->durability == LS_SYNC && f->footer.trailer.flags & SEG_UNSYNCED)
        rc = disk_sync(log->faults, s->fd);
    if (rc)
        return io_error(why, "syncing", generation, rc);
    s->sealed = true;
    s->end = f->footer.trailer.footer_offset;
    close(s->fd);
    s->fd = -1;
    return TG_OK;
}

static enum tg_err reopen(struct log_store *log, struct segment *s, char **why)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, s->generation);
    int rc = disk_open(log->faults, log->log_fd, name, O_RDWR, &s->fd);
    return rc ? io_error(why, "opening", s->generation, rc) : TG_OK;
}

/* Where a segment that should have been sealed is bad. */
static enum tg_err not_sealed(const struct found *f, char **why)
{
    const struct segment *s = f->seg;
    const struct seg_trailer *t = &f->footer.trailer;
    uint64_t at = s->size_bytes > sizeof *t ? s->size_bytes - sizeof *t : 0;
    if (seg_trailer_ok(t, s->generation, s->size_bytes))
        at = t->footer_offset;
    return damage(why, s->generation, at, "its footer is bad, though later segments have entries");
}

/* Groups follow each other without a gap: where the first ones are not, there are none. */
static enum tg_err has_groups(struct log_store *log, const struct found *f, bool *yes, char **why)
{
    const struct segment *s = f->seg;
    struct window w;
    struct scan sc = {0};
    window_init(&w, log->faults, s->fd,
                s->size_bytes < SPARE_LOOK_BYTES ? s->size_bytes : SPARE_LOOK_BYTES);
    enum tg_err e = scan_segment(&w, s->generation, NULL, NULL, &sc);
    if (e)
        e = io_error(why, "reading", s->generation, w.error);
    *yes = sc.groups;
    window_fini(&w);
    return e;
}

/* ---- sealed segments ---- */

/* Takes over f->seg. */
static enum tg_err load_sealed(struct log_store *log, struct found *f, char **why)
{
    struct segment *s = f->seg;
    const struct footer *ft = &f->footer;
    f->seg = NULL;
    registry_add_segment(&log->reg, s);
    for (uint32_t i = 0; i < ft->run_count; i++) {
        const struct footer_run *run = &ft->runs[i];
        const char *fault = footer_run_fault(ft, run);
        uint64_t items_offset = ft->items_offset + run->first_item * sizeof(struct footer_item);
        if (!fault && registry_sealed_run(&log->reg, s, run, items_offset))
            fault = "the footer has entries that it or a newer one does not know";
        if (fault)
            return damage(why, s->generation, s->end, fault);
    }
    return TG_OK;
}

/* ---- the open segment ---- */

static enum tg_err apply(void *ctx, const struct record *r, uint64_t offset)
{
    return registry_apply(ctx, r, offset);
}

/* What lies behind the end must not be taken for a group once new ones were written up to it. And
 * whatever was only in the page cache must be on disk before anybody is told of it. */
static enum tg_err settle(struct log_store *log, struct segment *s, const struct scan *sc,
                          char **why)
{
    int rc = 0;
    if (s->size_bytes < log->segment_bytes) {
        rc = disk_allocate(log->faults, s->fd, log->segment_bytes);
        s->size_bytes = log->segment_bytes;
    }
    if (!rc && sc->stale_end > sc->end) {
        log_warn("store: segment %08u: the last group was not written to its end; cut at %llu",
                 s->generation, (unsigned long long)sc->end);
        rc = disk_zero(log->faults, s->fd, sc->end, sc->stale_end - sc->end);
    }
    struct seg_trailer none = {0}; /* of a sealing that was not finished */
    if (!rc)
        rc = disk_write(log->faults, s->fd, &none, sizeof none, s->size_bytes - sizeof none);
    if (!rc && log->durability == LS_SYNC)
        rc = disk_sync(log->faults, s->fd);
    return rc ? io_error(why, "writing", s->generation, rc) : TG_OK;
}

static enum tg_err scan_open(struct log_store *log, const struct segment *s, struct scan *sc,
                             char **why)
{
    struct window w;
    window_init(&w, log->faults, s->fd, s->size_bytes);
    enum tg_err e = scan_segment(&w, s->generation, apply, &log->reg, sc);
    if (e == TG_EIO)
        e = io_error(why, "reading", s->generation, w.error);
    else if (e)
        e = damage(why, s->generation, sc->bad, "this group is not what follows on those before");
    window_fini(&w);
    if (!e && scan_damaged(sc)) {
        char what[96];
        snprintf(what, sizeof what, "a record is bad, though the log was on disk up to %llu",
                 (unsigned long long)sc->synced);
        e = damage(why, s->generation, sc->bad, what);
    }
    return e;
}

/* Takes over f->seg. */
static enum tg_err load_open(struct log_store *log, struct found *f, char **why)
{
    struct segment *s = f->seg;
    f->seg = NULL;
    registry_add_segment(&log->reg, s);
    log->open = s;
    struct scan sc;
    enum tg_err e = scan_open(log, s, &sc, why);
    if (!e)
        e = settle(log, s, &sc, why);
    if (!e)
        log->synced = s->end = sc.end;
    return e;
}

/* Behind the open segment there may be only what was made ahead and never used. */
static enum tg_err load_spare(struct log_store *log, struct found *f, const struct found *before,
                              char **why)
{
    bool groups = f->seg->sealed;
    enum tg_err e = groups ? TG_OK : has_groups(log, f, &groups, why);
    if (!e && groups)
        e = not_sealed(before, why);
    if (e)
        return e;
    if (log->spare.ready || f->seg->size_bytes < log->segment_bytes) {
        f->seg->next = log->spare.to_free;
        log->spare.to_free = f->seg;
    } else {
        log->spare.ready = f->seg;
    }
    f->seg = NULL;
    return TG_OK;
}

/* ---- all together ---- */

static enum tg_err load_unsealed(struct log_store *log, struct found *f, uint32_t n, char **why)
{
    enum tg_err e = TG_OK;
    for (uint32_t i = 1; i < n && !e; i++)
        e = load_spare(log, &f[i], &f[0], why);
    if (!e && n)
        e = load_open(log, &f[0], why);
    return e;
}

/* The newest sealed segment, if nothing was written behind it: the sync of its sealing may not have
 * been reached, and then any part of the footer may be missing. It is checked to its end, and
 * synced; where it is not whole, the segment was never sealed. <next>: the segment behind it. */
static enum tg_err settle_newest(struct log_store *log, struct found *f, const struct found *next,
                                 char **why)
{
    struct segment *s = f->seg;
    bool used = false;
    enum tg_err e = next ? has_groups(log, next, &used, why) : TG_OK;
    if (e || used)
        return e;
    e = reopen(log, s, why);
    if (e)
        return e;
    struct window w;
    window_init(&w, log->faults, s->fd, s->size_bytes);
    s->sealed = footer_whole(&f->footer, &w);
    int rc = w.error;
    window_fini(&w);
    if (!rc && s->sealed && log->durability == LS_SYNC)
        rc = disk_sync(log->faults, s->fd);
    if (rc)
        return io_error(why, "reading or syncing", s->generation, rc);
    if (s->sealed) {
        close(s->fd);
        s->fd = -1;
    } else {
        s->end = SEG_DATA_START;
    }
    return TG_OK;
}

static enum tg_err load_all(struct log_store *log, struct found *f, uint32_t n, char **why)
{
    uint32_t sealed = 0;
    enum tg_err e = TG_OK;
    while (sealed < n && f[sealed].seg->sealed)
        sealed++;
    if (sealed)
        e = settle_newest(log, &f[sealed - 1], sealed < n ? &f[sealed] : NULL, why);
    if (!e && sealed && !f[sealed - 1].seg->sealed)
        sealed--;
    if (!e && sealed) { /* its table has all ledgers that were there when it was written */
        const struct footer *newest = &f[sealed - 1].footer;
        for (uint32_t i = 0; i < newest->ledger_count; i++)
            registry_restore(&log->reg, &newest->ledgers[i]);
    }
    for (uint32_t i = 0; i < sealed && !e; i++)
        e = load_sealed(log, &f[i], why);
    return e ? e : load_unsealed(log, f + sealed, n - sealed, why);
}

static enum tg_err look_at_all(struct log_store *log, const struct segdir *d, struct found *f,
                               char **why)
{
    struct found *newest = NULL, *before = NULL;
    enum tg_err e = TG_OK;
    for (uint32_t i = 0; i < d->segment_count && !e; i++) {
        e = look(log, d->segments[i], &f[i], why);
        if (!f[i].footer.good)
            continue;
        if (before) /* the newest one may turn out not to be sealed, then that before it counts */
            footer_forget_ledgers(&before->footer);
        before = newest;
        newest = &f[i];
    }
    return e;
}

static void learn_generations(struct log_store *log, const struct segdir *d)
{
    struct spare_maker *sp = &log->spare;
    sp->next_generation = 1;
    if (d->segment_count)
        sp->next_generation = d->segments[d->segment_count - 1] + 1;
    if (d->free_count && d->free_files[d->free_count - 1] >= sp->next_generation)
        sp->next_generation = d->free_files[d->free_count - 1] + 1;
    for (uint32_t i = 0; i < d->free_count; i++)
        spare_add_free(sp, d->free_files[i]);
}

enum tg_err log_recover(struct log_store *log, char **why)
{
    struct segdir d;
    int rc = segdir_read(log->log_fd, &d);
    if (!rc && log->durability == LS_SYNC) /* names that are not on disk yet are relied on now */
        rc = disk_sync(log->faults, log->log_fd);
    if (rc) {
        segdir_fini(&d);
        return io_error(why, "listing or syncing the directory of", 0, rc);
    }
    learn_generations(log, &d);
    struct found *f = xcalloc(d.segment_count + 1, sizeof *f);
    enum tg_err e = look_at_all(log, &d, f, why);
    if (!e)
        e = load_all(log, f, d.segment_count, why);
    for (uint32_t i = 0; i < d.segment_count; i++) {
        footer_fini(&f[i].footer);
        if (f[i].seg)
            segment_free(f[i].seg);
    }
    free(f);
    segdir_fini(&d);
    return e;
}

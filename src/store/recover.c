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
#include "store/scan.h"

struct found { /* a seg- file */
    struct segment *seg;
    struct seg_trailer trailer; /* of a sealed one */
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

/* Reads and checks the part of the footer that is needed at start. *body stays NULL when the footer
 * is not good. */
static enum tg_err read_head(struct log_store *log, const struct found *f, uint8_t **body,
                             char **why)
{
    const struct seg_trailer *t = &f->trailer;
    uint8_t *b = xmalloc(t->head_len);
    *body = NULL;
    char name[SEG_NAME_BYTES];
    segment_name(name, f->seg->generation);
    int fd;
    int rc = disk_open(log->faults, log->log_fd, name, O_RDONLY, &fd);
    if (!rc)
        rc = disk_read(log->faults, fd, b, t->head_len, t->footer_offset + sizeof(struct record));
    if (fd >= 0)
        close(fd);
    if (rc) {
        free(b);
        return io_error(why, "reading", f->seg->generation, rc);
    }
    struct footer_head head = {0};
    if (t->head_len >= sizeof head)
        memcpy(&head, b, sizeof head);
    uint64_t head_len = sizeof head + head.runs * sizeof(struct footer_run) +
                        head.ledgers * sizeof(struct footer_ledger);
    bool ok = t->head_len == head_len && crc32c(0, b, head_len) == t->head_crc &&
              head.items <= (t->body_len - head_len) / sizeof(struct footer_item);
    if (ok)
        *body = b;
    else
        free(b);
    return TG_OK;
}

static enum tg_err look(struct log_store *log, uint32_t generation, struct found *f, char **why)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, generation);
    int fd;
    int rc = disk_open(log->faults, log->log_fd, name, O_RDWR, &fd);
    if (rc)
        return io_error(why, "opening", generation, rc);
    f->seg = segment_new(generation, fd, 0);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return io_error(why, "reading", generation, errno);
    f->seg->size_bytes = (uint64_t)st.st_size;
    struct seg_header h;
    rc = disk_read(log->faults, fd, &h, sizeof h, 0);
    if (rc)
        return io_error(why, "reading", generation, rc);
    if (!seg_header_ok(&h, generation))
        return damage(why, generation, 0, "this is not the header of that segment");
    if (f->seg->size_bytes < SEG_DATA_START + sizeof f->trailer)
        return TG_OK;
    rc = disk_read(log->faults, fd, &f->trailer, sizeof f->trailer,
                   f->seg->size_bytes - sizeof f->trailer);
    if (rc)
        return io_error(why, "reading", generation, rc);
    if (!seg_trailer_ok(&f->trailer, generation, f->seg->size_bytes))
        return TG_OK;
    uint8_t *head;
    enum tg_err e = read_head(log, f, &head, why);
    free(head);
    if (head) { /* there may be more of these than files can be open */
        f->seg->sealed = true;
        close(fd);
        f->seg->fd = -1;
    }
    return e;
}

/* Where a segment that should have been sealed is bad. */
static enum tg_err not_sealed(const struct found *f, char **why)
{
    const struct segment *s = f->seg;
    uint64_t at = s->size_bytes > sizeof f->trailer ? s->size_bytes - sizeof f->trailer : 0;
    if (seg_trailer_ok(&f->trailer, s->generation, s->size_bytes))
        at = f->trailer.footer_offset;
    return damage(why, s->generation, at, "its footer is bad, though later segments have entries");
}

/* ---- sealed segments ---- */

static const struct footer_run *runs_of(const uint8_t *body)
{
    return (const struct footer_run *)(const void *)(body + sizeof(struct footer_head));
}

static const struct footer_ledger *ledgers_of(const uint8_t *body)
{
    const struct footer_head *head = (const struct footer_head *)(const void *)body;
    return (const struct footer_ledger *)(const void *)(runs_of(body) + head->runs);
}

/* The newest footer knows all ledgers that were there when it was written. */
static enum tg_err restore_ledgers(struct log_store *log, const struct found *f, char **why)
{
    uint8_t *body;
    enum tg_err e = read_head(log, f, &body, why);
    if (e)
        return e;
    const struct footer_head *head = (const struct footer_head *)(void *)body;
    const struct footer_ledger *ledgers = ledgers_of(body);
    for (uint32_t i = 0; i < head->ledgers; i++)
        registry_restore(&log->reg, &ledgers[i]);
    free(body);
    return TG_OK;
}

/* Takes over f->seg. */
static enum tg_err load_sealed(struct log_store *log, struct found *f, char **why)
{
    uint8_t *body;
    enum tg_err e = read_head(log, f, &body, why);
    if (e)
        return e;
    struct segment *s = f->seg;
    f->seg = NULL;
    s->end = f->trailer.footer_offset;
    registry_add_segment(&log->reg, s);
    const struct footer_head *head = (const struct footer_head *)(void *)body;
    const struct footer_run *runs = runs_of(body);
    uint64_t items_at = s->end + sizeof(struct record) + f->trailer.head_len;
    for (uint32_t i = 0; i < head->runs && !e; i++) {
        if (runs[i].count == 0 || runs[i].first_item + runs[i].count > head->items)
            e = damage(why, s->generation, s->end, "the footer contradicts itself");
        else
            registry_sealed_run(&log->reg, s, &runs[i],
                                items_at + runs[i].first_item * sizeof(struct footer_item));
    }
    free(body);
    return e;
}

/* ---- the open segment ---- */

static enum tg_err apply(void *ctx, const struct record *r, uint64_t offset)
{
    struct log_store *log = ctx;
    switch (r->type) {
    case REC_ENTRY:
        return registry_entry(&log->reg, r, offset);
    case REC_DROP:
        registry_drop(&log->reg, r->ledger);
        return TG_OK;
    case REC_TRIM:
        registry_trim(&log->reg, r->ledger, r->entry);
        struct ledger *l = registry_ledger(&log->reg, r->ledger);
        if (l)
            l->trim_logged = l->trimmed_to;
        return TG_OK;
    default:
        return TG_OK;
    }
}

static enum tg_err read_whole(struct log_store *log, const struct segment *s, uint8_t **buf,
                              char **why)
{
    *buf = xmalloc(s->size_bytes + 1);
    int rc = disk_read(log->faults, s->fd, *buf, s->size_bytes, 0);
    return rc ? io_error(why, "reading", s->generation, rc) : TG_OK;
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
    if (!rc)
        rc = disk_sync(log->faults, s->fd);
    return rc ? io_error(why, "writing", s->generation, rc) : TG_OK;
}

/* Takes over f->seg. */
static enum tg_err load_open(struct log_store *log, struct found *f, char **why)
{
    struct segment *s = f->seg;
    f->seg = NULL;
    registry_add_segment(&log->reg, s);
    log->open = s;
    uint8_t *buf;
    struct scan sc;
    enum tg_err e = read_whole(log, s, &buf, why);
    if (!e) {
        e = scan_segment(buf, s->size_bytes, s->generation, apply, log, &sc);
        if (e)
            e = damage(why, s->generation, sc.bad, "entries are missing before this group");
    }
    if (!e && scan_damaged(&sc)) {
        char what[96];
        snprintf(what, sizeof what, "a record is bad, though the log was on disk up to %llu",
                 (unsigned long long)sc.synced);
        e = damage(why, s->generation, sc.bad, what);
    }
    if (!e)
        e = settle(log, s, &sc, why);
    if (!e)
        log->synced = s->end = sc.end;
    free(buf);
    return e;
}

/* Behind the open segment there may be only what was made ahead and never used. */
static enum tg_err load_spare(struct log_store *log, struct found *f, const struct found *before,
                              char **why)
{
    uint8_t *buf;
    struct scan sc = {0};
    enum tg_err e = read_whole(log, f->seg, &buf, why);
    if (!e)
        e = scan_segment(buf, f->seg->size_bytes, f->seg->generation, NULL, NULL, &sc);
    free(buf);
    if (!e && sc.groups)
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
    for (uint32_t i = 1; i < n && !e; i++) {
        if (f[i].seg->sealed)
            return not_sealed(&f[0], why);
        e = load_spare(log, &f[i], &f[0], why);
    }
    if (!e && n)
        e = load_open(log, &f[0], why);
    return e;
}

/* The sync of its sealing may not have been reached. */
static enum tg_err sync_newest(struct log_store *log, const struct segment *s, char **why)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, s->generation);
    int fd;
    int rc = disk_open(log->faults, log->log_fd, name, O_RDWR, &fd);
    if (!rc)
        rc = disk_sync(log->faults, fd);
    if (fd >= 0)
        close(fd);
    return rc ? io_error(why, "syncing", s->generation, rc) : TG_OK;
}

static enum tg_err load_all(struct log_store *log, struct found *f, uint32_t n, char **why)
{
    uint32_t sealed = 0;
    while (sealed < n && f[sealed].seg->sealed)
        sealed++;
    enum tg_err e = TG_OK;
    if (sealed) {
        e = sync_newest(log, f[sealed - 1].seg, why);
        if (!e)
            e = restore_ledgers(log, &f[sealed - 1], why);
    }
    for (uint32_t i = 0; i < sealed && !e; i++)
        e = load_sealed(log, &f[i], why);
    return e ? e : load_unsealed(log, f + sealed, n - sealed, why);
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
    if (rc) {
        segdir_fini(&d);
        return io_error(why, "listing the directory of", 0, rc);
    }
    learn_generations(log, &d);
    struct found *f = xcalloc(d.segment_count + 1, sizeof *f);
    enum tg_err e = TG_OK;
    for (uint32_t i = 0; i < d.segment_count && !e; i++)
        e = look(log, d.segments[i], &f[i], why);
    if (!e)
        e = load_all(log, f, d.segment_count, why);
    for (uint32_t i = 0; i < d.segment_count; i++)
        if (f[i].seg)
            segment_free(f[i].seg);
    free(f);
    segdir_fini(&d);
    return e;
}

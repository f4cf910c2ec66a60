/* `store verify`: every segment by itself (verify_segment.c), then, when no broker uses the
 * directory, whether they fit together: the same registry is built that a start builds, and every
 * ledger must have all its entries from the first that is needed to the last.
 *
 * A directory in use changes while it is read: what was found bad is looked at again, and does not
 * count unless it stays so; a segment that was recycled meanwhile has nothing to answer for. */
#include "store/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "store/engine.h"
#include "store/scan.h"

#define TRIES         5
#define TRY_AGAIN_NS  (20 * MONO_MS)
#define HOLES_PRINTED 20

struct verify {
    int log_fd;
    FILE *out;
    struct log_findings *found;
    struct registry reg;
};

static bool in_use(int log_fd)
{
    int fd;
    if (disk_open(NULL, log_fd, "lock", O_RDONLY, &fd))
        return false;
    bool yes = flock(fd, LOCK_SH | LOCK_NB) < 0;
    close(fd); /* and lets go of the lock */
    return yes;
}

/* ---- one after the other ---- */

/* Does a segment from the <i>th on have a group? */
static bool begun_from(int log_fd, const struct segdir *d, uint32_t i)
{
    bool yes = false;
    for (; i < d->segment_count && !yes; i++) {
        char name[SEG_NAME_BYTES];
        struct record r;
        int fd;
        segment_name(name, d->segments[i]);
        if (disk_open(NULL, log_fd, name, O_RDONLY, &fd))
            continue;
        yes = disk_read(NULL, fd, &r, sizeof r, SEG_DATA_START) == 0 &&
              rec_header_ok(&r, d->segments[i], SEG_DATA_START);
        close(fd);
    }
    return yes;
}

static int verify_patiently(struct verify *v, const struct segdir *d, uint32_t i,
                            struct verify_report *out)
{
    for (int try = 1;; try++) {
        int rc = verify_segment(v->log_fd, d->segments[i], begun_from(v->log_fd, d, i + 1), out);
        if (rc || out->problems == 0 || !v->found->in_use || try == TRIES)
            return rc;
        free(out->text);
        struct timespec ts = {.tv_nsec = TRY_AGAIN_NS};
        nanosleep(&ts, NULL);
    }
}

static int verify_one(struct verify *v, const struct segdir *d, uint32_t i, char **why)
{
    struct verify_report r;
    int rc = verify_patiently(v, d, i, &r);
    char text[128];
    if (rc)
        *why = xasprintf("reading seg-%08u.log: %s", d->segments[i],
                         strerror_r(rc, text, sizeof text));
    if (r.text)
        fputs(r.text, v->out);
    free(r.text);
    if (r.state == VERIFY_GONE)
        return rc;
    if (r.torn_bytes)
        fprintf(v->out, "seg-%08u.log: offset %llu: a group is not whole; %s (no damage)\n",
                d->segments[i], (unsigned long long)r.end,
                v->found->in_use ? "it is being written, or the next start cuts it"
                                 : "it was never acknowledged, and the next start cuts it");
    v->found->segments++;
    v->found->entries += r.entries;
    v->found->bytes += r.bytes;
    v->found->problems += r.problems;
    v->found->stopping += r.stopping;
    return rc;
}

/* ---- whether they fit together ---- */

static enum tg_err apply(void *ctx, const struct record *r, uint64_t offset)
{
    return registry_apply(ctx, r, offset);
}

static void misfit(struct verify *v, uint32_t generation, uint64_t offset, const char *what)
{
    fprintf(v->out, "seg-%08u.log: offset %llu: %s (the broker does not start with this)\n",
            generation, (unsigned long long)offset, what);
    v->found->problems++;
    v->found->stopping++;
}

static void add_sealed(struct verify *v, struct segment *s, const struct footer *ft)
{
    s->sealed = true;
    s->end = ft->trailer.footer_offset;
    registry_add_segment(&v->reg, s);
    for (uint32_t i = 0; i < ft->run_count; i++)
        if (registry_sealed_run(&v->reg, s, &ft->runs[i], 1)) {
            misfit(v, s->generation, s->end,
                   "the footer has entries that it or a newer one does not know");
            return;
        }
}

static void add_open(struct verify *v, struct segment *s)
{
    struct window w;
    struct scan sc;
    registry_add_segment(&v->reg, s);
    window_init(&w, NULL, s->fd, s->size_bytes);
    if (scan_segment(&w, s->generation, apply, &v->reg, &sc) == TG_ECORRUPT)
        misfit(v, s->generation, sc.bad, "this group is not what follows on those before");
    window_fini(&w);
}

static struct segment *open_segment(struct verify *v, uint32_t generation, struct footer *ft)
{
    char name[SEG_NAME_BYTES];
    struct stat st;
    int fd;
    segment_name(name, generation);
    *ft = (struct footer){.good = false};
    if (disk_open(NULL, v->log_fd, name, O_RDONLY, &fd))
        return NULL;
    struct segment *s = segment_new(generation, fd, 0);
    if (fstat(fd, &st) == 0)
        s->size_bytes = (uint64_t)st.st_size;
    if (footer_read(NULL, fd, generation, s->size_bytes, ft) == 0)
        return s;
    segment_free(s);
    return NULL;
}

/* Segments are good by themselves: sealed ones, the open one, spares. */
static void fit_together(struct verify *v, const struct segdir *d)
{
    struct footer ft;
    bool known = false;
    for (uint32_t i = d->segment_count; i-- > 0 && !known; footer_fini(&ft)) {
        struct segment *s = open_segment(v, d->segments[i], &ft);
        known = ft.good;
        for (uint32_t k = 0; k < ft.ledger_count; k++)
            registry_restore(&v->reg, &ft.ledgers[k]);
        if (s)
            segment_free(s);
    }
    for (uint32_t i = 0; i < d->segment_count; i++, footer_fini(&ft)) {
        struct segment *s = open_segment(v, d->segments[i], &ft);
        if (!s)
            continue;
        if (ft.good) {
            close(s->fd);
            s->fd = -1;
            add_sealed(v, s, &ft);
        } else if (!v->reg.open) {
            add_open(v, s);
        } else {
            segment_free(s);
        }
    }
}

static void check_ledger(struct verify *v, const struct ledger *l)
{
    uint64_t need = l->trimmed_to;
    for (uint32_t i = 0; i <= l->run_count && need <= l->last_entry; i++) {
        const struct run *run = i < l->run_count ? &l->runs[i] : NULL;
        uint64_t next = run ? run->first : l->last_entry + 1;
        if (next > need && v->found->problems++ < HOLES_PRINTED)
            fprintf(v->out, "ledger %llu: entries %llu to %llu are in no segment\n",
                    (unsigned long long)l->id, (unsigned long long)need,
                    (unsigned long long)next - 1);
        if (run && run->first + run->count > need)
            need = run->first + run->count;
    }
}

static void verify_together(struct verify *v, const struct segdir *d)
{
    registry_init(&v->reg);
    fit_together(v, d);
    uint32_t at = 0;
    for (struct ledger *l; !v->found->stopping && (l = idmap_next(&v->reg.ledgers, &at));)
        check_ledger(v, l);
    registry_fini(&v->reg);
}

enum tg_err log_verify(const char *dir, void *file, struct log_findings *out, char **why)
{
    char *path = xasprintf("%s/log", dir), text[128];
    struct verify v = {.out = file, .found = out};
    struct segdir d = {0};
    *out = (struct log_findings){0};
    *why = NULL;
    v.log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = v.log_fd < 0 ? errno : segdir_read(v.log_fd, &d);
    if (rc)
        *why = xasprintf("%s: %s", path, strerror_r(rc, text, sizeof text));
    out->in_use = !rc && in_use(v.log_fd);
    for (uint32_t i = 0; i < d.segment_count && !rc; i++)
        rc = verify_one(&v, &d, i, why);
    if (!rc && !out->stopping && !out->in_use)
        verify_together(&v, &d);
    segdir_fini(&d);
    if (v.log_fd >= 0)
        close(v.log_fd);
    free(path);
    if (rc)
        return rc == ENOENT ? TG_ENOENT : disk_err(rc);
    return out->problems ? TG_ECORRUPT : TG_OK;
}

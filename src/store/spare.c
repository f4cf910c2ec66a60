/* The spare maker: a thread of low priority that has the next segment ready before the committer
 * needs it, and renames those that nobody needs. A free file is taken before a new one is made; a
 * new one is filled with zeros, because overwriting written blocks syncs in half the time. When the
 * committer already waits, the filling is cut short.
 *
 * Files that lie idle for long go back to the file system, one at a time: a deletion competes with
 * the commits for the journal.
 *
 * A spare becomes a seg- file in this order: header, sync, rename, sync of the directory (no syncs
 * in LS_OS mode). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/engine.h"

#define FILL_BYTES    (UINT64_C(1) << 20) /* zeros between two syncs: what a commit may wait for */
#define FULL_RETRY_NS (100 * MONO_MS)
#define FREE_KEEP     1  /* idle files that are kept in any case */
#define DELETE_MOST   50 /* in one shrink_after_ns: five a second */

/* From linux/ioprio.h, which the C library does not wrap. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE        (3 << 13)

void spare_add_free(struct spare_maker *sp, uint32_t generation)
{
    if (sp->free_count == sp->free_cap) {
        sp->free_cap = sp->free_cap ? sp->free_cap * 2 : 16;
        sp->free_files = xrealloc(sp->free_files, sp->free_cap * sizeof *sp->free_files);
    }
    sp->free_files[sp->free_count++] = generation;
}

static bool in_a_hurry(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    bool yes = log->spare.hurry || log->spare.stop;
    pthread_mutex_unlock(&log->lock);
    return yes;
}

/* In LS_OS mode a sync would write out what a recycled file held before, for nothing. */
static int sync_if_asked(struct log_store *log, int fd)
{
    return log->durability == LS_SYNC ? disk_sync(log->faults, fd) : 0;
}

static int fill(struct log_store *log, int fd)
{
    for (uint64_t at = 0; at < log->segment_bytes && !in_a_hurry(log); at += FILL_BYTES) {
        uint64_t n = log->segment_bytes - at < FILL_BYTES ? log->segment_bytes - at : FILL_BYTES;
        int rc = disk_zero(log->faults, fd, at, n);
        if (!rc)
            rc = sync_if_asked(log, fd);
        if (rc)
            return rc;
    }
    return 0;
}

/* The file <name> becomes the segment <generation>. */
static int finish(struct log_store *log, int fd, const char *name, uint32_t generation)
{
    char seg[SEG_NAME_BYTES];
    segment_name(seg, generation);
    int rc = segment_write_header(log->faults, fd, generation);
    if (!rc)
        rc = sync_if_asked(log, fd);
    if (!rc)
        rc = disk_rename(log->faults, log->log_fd, name, seg);
    if (!rc)
        rc = sync_if_asked(log, log->log_fd);
    return rc;
}

static int make_from(struct log_store *log, const char *name, int flags, uint32_t generation,
                     struct segment **out)
{
    int fd = -1;
    int rc = disk_open(log->faults, log->log_fd, name, O_RDWR | flags, &fd);
    struct stat st = {0};
    if (!rc && fstat(fd, &st) < 0)
        rc = errno;
    uint64_t size = (uint64_t)st.st_size;
    if (!rc && size < log->segment_bytes) {
        size = log->segment_bytes;
        rc = disk_allocate(log->faults, fd, size);
        if (!rc)
            rc = fill(log, fd);
    }
    if (!rc)
        rc = finish(log, fd, name, generation);
    if (!rc)
        *out = segment_new(generation, fd, size);
    else if (fd >= 0)
        close(fd);
    return rc;
}

/* 0 and *out, or errno. Called without the lock; only this thread touches the free files. */
static int make_spare(struct log_store *log, uint32_t generation, uint32_t free_file, bool recycled,
                      struct segment **out)
{
    char name[SEG_NAME_BYTES];
    if (recycled) {
        segment_free_name(name, free_file);
        return make_from(log, name, 0, generation, out);
    }
    snprintf(name, sizeof name, "new-%08u.tmp", generation);
    int rc = make_from(log, name, O_CREAT | O_TRUNC, generation, out);
    if (rc)
        (void)!disk_unlink(log->faults, log->log_fd, name);
    return rc;
}

/* lock held; let go of while the disk works. */
static void make(struct log_store *log)
{
    struct spare_maker *sp = &log->spare;
    uint32_t generation = sp->next_generation++;
    bool recycled = sp->free_count > 0;
    uint32_t free_file = recycled ? sp->free_files[--sp->free_count] : 0;
    if (sp->free_count < sp->free_least)
        sp->free_least = sp->free_count;
    pthread_mutex_unlock(&log->lock);
    struct segment *s = NULL;
    int rc = make_spare(log, generation, free_file, recycled, &s);
    if (rc && disk_err(rc) != TG_ENOSPC) {
        char text[128];
        log_set_state(
            log, LS_FAILED,
            xasprintf("making segment %08u: %s", generation, strerror_r(rc, text, sizeof text)));
    }
    pthread_mutex_lock(&log->lock);
    if (rc && recycled)
        spare_add_free(sp, free_file);
    sp->error = rc;
    sp->ready = s;
    pthread_cond_signal(&log->work);
}

static void free_segments(struct log_store *log) /* lock held */
{
    struct spare_maker *sp = &log->spare;
    struct segment *s = sp->to_free;
    sp->to_free = NULL;
    pthread_mutex_unlock(&log->lock);
    char from[SEG_NAME_BYTES], to[SEG_NAME_BYTES], text[128];
    struct segment *done = NULL;
    while (s) {
        struct segment *next = s->next;
        segment_name(from, s->generation);
        segment_free_name(to, s->generation);
        int rc = disk_rename(log->faults, log->log_fd, from, to);
        if (rc)
            log_set_state(log, LS_FAILED,
                          xasprintf("rename of %s: %s", from, strerror_r(rc, text, sizeof text)));
        s->next = done;
        done = s;
        s = next;
    }
    /* Before a file gets a new header: should its name be lost in a power cut, it is the old one.
     */
    int rc = sync_if_asked(log, log->log_fd);
    if (rc)
        log_set_state(log, LS_FAILED,
                      xasprintf("sync of the directory: %s", strerror_r(rc, text, sizeof text)));
    pthread_mutex_lock(&log->lock);
    while (done) {
        struct segment *next = done->next;
        spare_add_free(sp, done->generation);
        segment_free(done);
        done = next;
    }
}

/* ---- files that nobody needs ---- */

static void delete_one(struct log_store *log) /* lock held; let go of while the disk works */
{
    struct spare_maker *sp = &log->spare;
    char name[SEG_NAME_BYTES];
    segment_free_name(name, sp->free_files[0]);
    sp->free_count--;
    memmove(sp->free_files, sp->free_files + 1, sp->free_count * sizeof *sp->free_files);
    pthread_mutex_unlock(&log->lock);
    int rc = disk_unlink(log->faults, log->log_fd, name);
    if (rc)
        log_warn("store: cannot delete log/%s: error %d", name, rc);
    pthread_mutex_lock(&log->lock);
}

/* Lock held. Every now and then: the files that were idle since the last time are doomed, and go
 * one by one until the next time. */
static void shrink(struct log_store *log)
{
    struct spare_maker *sp = &log->spare;
    int64_t now_ns = mono_now_ns();
    if (sp->doomed && sp->free_count > FREE_KEEP) {
        sp->doomed--;
        delete_one(log);
    }
    if (sp->free_count < sp->free_least)
        sp->free_least = sp->free_count;
    if (now_ns - sp->look_ns < log->shrink_after_ns)
        return;
    sp->doomed = sp->free_least > FREE_KEEP ? sp->free_least - FREE_KEEP : 0;
    sp->free_least = sp->free_count;
    sp->look_ns = now_ns;
}

/* When shrink must be called next; 0: not before there are more files. */
static int64_t shrink_wait_ns(const struct log_store *log) /* lock held */
{
    const struct spare_maker *sp = &log->spare;
    if (sp->free_count <= FREE_KEEP)
        return 0;
    uint32_t parts = sp->doomed < DELETE_MOST ? sp->doomed + 1 : DELETE_MOST;
    return log->shrink_after_ns / parts + 1;
}

/* ---- the thread ---- */

static void wait_for_wish(struct log_store *log) /* lock held */
{
    int64_t span_ns = shrink_wait_ns(log);
    if (!span_ns) {
        pthread_cond_wait(&log->spare.work, &log->lock);
        return;
    }
    int64_t until_ns = mono_now_ns() + span_ns;
    cond_wait_ns(&log->spare.work, &log->lock, span_ns);
    if (!log->spare.stop && mono_now_ns() >= until_ns)
        shrink(log);
}

void *spare_main(void *store)
{
    struct log_store *log = store;
    struct spare_maker *sp = &log->spare;
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE); /* a wish, not a need */
    pthread_mutex_lock(&log->lock);
    for (;;) {
        bool make_one = sp->wanted && !sp->ready && log->state != LS_FAILED;
        if (sp->to_free)
            free_segments(log);
        else if (sp->stop)
            break;
        else if (make_one && !sp->error)
            make(log);
        else if (make_one) {
            cond_wait_ns(&sp->work, &log->lock, FULL_RETRY_NS);
            if (!sp->stop && !sp->to_free)
                make(log);
        } else
            wait_for_wish(log);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* The spare maker: a thread of low priority that has the next segment ready before the committer
 * needs it, and renames those that nobody needs. A free file is taken before a new one is made; a
 * new one is filled with zeros, because overwriting written blocks syncs in half the time. When the
 * committer already waits, the filling is cut short.
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
#include "base/mono.h"
#include "store/engine.h"

#define FILL_BYTES    (UINT64_C(1) << 20) /* zeros between two syncs: what a commit may wait for */
#define FULL_RETRY_NS (100 * MONO_MS)

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
        unlinkat(log->log_fd, name, 0);
    return rc;
}

/* lock held; let go of while the disk works. */
static void make(struct log_store *log)
{
    struct spare_maker *sp = &log->spare;
    uint32_t generation = sp->next_generation++;
    bool recycled = sp->free_count > 0;
    uint32_t free_file = recycled ? sp->free_files[--sp->free_count] : 0;
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
    pthread_mutex_lock(&log->lock);
    while (done) {
        struct segment *next = done->next;
        spare_add_free(sp, done->generation);
        segment_free(done);
        done = next;
    }
}

void *spare_main(void *store)
{
    struct log_store *log = store;
    struct spare_maker *sp = &log->spare;
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE); /* a wish, not a need */
    pthread_mutex_lock(&log->lock);
    for (;;) {
        if (sp->to_free)
            free_segments(log);
        else if (sp->stop)
            break;
        else if (sp->wanted && !sp->ready && log->state != LS_FAILED && !sp->error)
            make(log);
        else if (sp->wanted && !sp->ready && log->state != LS_FAILED) {
            cond_wait_ns(&sp->work, &log->lock, FULL_RETRY_NS);
            if (!sp->stop && !sp->to_free)
                make(log);
        } else
            pthread_cond_wait(&sp->work, &log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

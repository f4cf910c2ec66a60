/* The segmented log as an engine: opening, closing, and the questions that need no port. One log
 * for all ledgers; see engine.h for its threads and locks, docs/storage-format.md for its bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "store/engine.h"

/* Blocks: large enough that few are needed, small enough that the cache can let go of a little. */
#define BLOCK_BYTES_MOST   (256u << 10)
#define BLOCK_BYTES_LEAST  (4u << 10)
#define BLOCKS_PER_SEGMENT 16 /* a segment's end is left unused when a block no longer fits */
#define BLOCKS_PER_CACHE   64

/* What copying forward may write in any case: an idle disk hardly notices, and a segment of 64 MB,
 * of which it copies a quarter at the most, takes a second. More: copier.c. */
#define COPY_BYTES_PER_S (UINT64_C(16) << 20)
/* Long enough that a backlog which comes and goes does not have files deleted and made again. */
#define SHRINK_AFTER_NS (10 * MONO_S)

void cond_init_mono(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

void cond_wait_ns(pthread_cond_t *c, pthread_mutex_t *m, int64_t span_ns)
{
    int64_t until_ns = mono_add(mono_now_ns(), span_ns);
    struct timespec ts = {.tv_sec = until_ns / MONO_S, .tv_nsec = until_ns % MONO_S};
    pthread_cond_timedwait(c, m, &ts);
}

/* ---- questions ---- */

static uint64_t log_last_entry(struct ledger_store *s, uint64_t ledger)
{
    struct log_store *log = (struct log_store *)s;
    pthread_mutex_lock(&log->reg_lock);
    const struct ledger *l = registry_ledger(&log->reg, ledger);
    uint64_t last = l ? l->last_entry : LS_NO_ENTRY;
    pthread_mutex_unlock(&log->reg_lock);
    return last;
}

static uint64_t log_first_entry(struct ledger_store *s, uint64_t ledger)
{
    struct log_store *log = (struct log_store *)s;
    uint64_t first = 0;
    pthread_mutex_lock(&log->reg_lock);
    const struct ledger *l = registry_ledger(&log->reg, ledger);
    if (l)
        first = l->run_count ? l->runs[0].first : l->last_entry + 1;
    pthread_mutex_unlock(&log->reg_lock);
    return first;
}

/* The ids are copied, so that <fn> may call the store. */
static enum tg_err log_each_ledger(struct ledger_store *s, void (*fn)(void *ctx, uint64_t ledger),
                                   void *ctx)
{
    struct log_store *log = (struct log_store *)s;
    pthread_mutex_lock(&log->reg_lock);
    uint32_t n = 0, at = 0;
    uint64_t *ids = xmalloc((log->reg.ledgers.count + 1) * sizeof *ids);
    for (struct ledger *l; (l = idmap_next(&log->reg.ledgers, &at));)
        ids[n++] = l->id;
    pthread_mutex_unlock(&log->reg_lock);
    for (uint32_t i = 0; i < n; i++)
        fn(ctx, ids[i]);
    free(ids);
    return TG_OK;
}

static void log_stats(struct ledger_store *s, struct ls_stats *out)
{
    struct log_store *log = (struct log_store *)s;
    *out = (struct ls_stats){
        .appended_entries = atomic_load_explicit(&log->appended_entries, memory_order_relaxed),
        .appended_bytes = atomic_load_explicit(&log->appended_bytes, memory_order_relaxed),
        .commits = atomic_load_explicit(&log->commits, memory_order_relaxed),
        .syncs = atomic_load_explicit(&log->syncs, memory_order_relaxed),
        .copied_bytes = atomic_load_explicit(&log->copied_bytes, memory_order_relaxed),
        .cache_bytes = (uint64_t)budget_used(log->budget, BUDGET_CACHE),
    };
    pthread_mutex_lock(&log->reg_lock);
    for (const struct segment *seg = log->reg.segments; seg; seg = seg->next) {
        out->log_bytes += seg->size_bytes;
        out->live_bytes += seg->live_bytes;
        out->segments++;
    }
    pthread_mutex_unlock(&log->reg_lock);
    pthread_mutex_lock(&log->lock);
    out->free_segments = log->spare.free_count + (log->spare.ready != NULL);
    pthread_mutex_unlock(&log->lock);
}

/* ---- opening and closing ---- */

static void free_store(struct log_store *log)
{
    registry_fini(&log->reg);
    if (log->spare.ready)
        segment_free(log->spare.ready);
    for (struct segment *s = log->spare.to_free, *next; s; s = next) {
        next = s->next;
        segment_free(s);
    }
    free(log->spare.free_files);
    free(log->why);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    if (log->log_fd >= 0)
        close(log->log_fd);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->reg_lock);
    pthread_mutex_destroy(&log->reads.lock);
    pthread_cond_destroy(&log->work);
    pthread_cond_destroy(&log->spare.work);
    pthread_cond_destroy(&log->copier.work);
    pthread_cond_destroy(&log->reads.work);
    pthread_cond_destroy(&log->reads.idle);
    free(log);
}

static void log_close(struct ledger_store *s)
{
    struct log_store *log = (struct log_store *)s;
    pthread_mutex_lock(&log->lock);
    TG_ASSERT(!log->ports);
    log->copier.stop = true; /* the committer still answers it */
    pthread_cond_signal(&log->copier.work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->copier.thread, NULL);
    pthread_mutex_lock(&log->lock);
    log->stop = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->committer, NULL);
    pthread_mutex_lock(&log->lock);
    log->spare.stop = true;
    pthread_cond_signal(&log->spare.work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->spare.thread, NULL);
    pthread_mutex_lock(&log->reads.lock);
    log->reads.stop = true;
    pthread_cond_broadcast(&log->reads.work);
    pthread_mutex_unlock(&log->reads.lock);
    for (int i = 0; i < READER_THREADS; i++)
        pthread_join(log->reads.threads[i], NULL);
    free_store(log);
}

static const struct ledger_store_ops log_ops = {
    .port_open = port_open,
    .port_close = port_close,
    .port_poll = port_poll,
    .port_finish_reads = port_finish_reads,
    .port_submit = port_submit,
    .append = port_append,
    .read_cached = port_read_cached,
    .read = port_read,
    .release = port_release,
    .last_entry = log_last_entry,
    .first_entry = log_first_entry,
    .trim = port_trim,
    .drop = port_drop,
    .each_ledger = log_each_ledger,
    .stats = log_stats,
    .close = log_close,
};

static uint32_t choose_block_bytes(const struct log_store *log)
{
    uint64_t bytes = log->segment_bytes / BLOCKS_PER_SEGMENT;
    uint64_t by_cache = (uint64_t)log->budget->share_bytes[BUDGET_CACHE] / BLOCKS_PER_CACHE;
    if (bytes > by_cache)
        bytes = by_cache;
    if (bytes > BLOCK_BYTES_MOST)
        bytes = BLOCK_BYTES_MOST;
    if (bytes < BLOCK_BYTES_LEAST)
        bytes = BLOCK_BYTES_LEAST;
    return (uint32_t)align_up(bytes, REC_ALIGN);
}

static struct log_store *new_store(const struct log_config *cfg)
{
    struct log_store *log = xcalloc(1, sizeof *log);
    log->base.ops = &log_ops;
    log->log_fd = log->lock_fd = -1;
    log->durability = cfg->durability;
    log->budget = cfg->budget;
    log->faults = cfg->faults;
    log->segment_bytes = cfg->segment_bytes ? cfg->segment_bytes : SEGMENT_BYTES_DEFAULT;
    if (log->segment_bytes < SEGMENT_BYTES_LEAST)
        log->segment_bytes = SEGMENT_BYTES_LEAST;
    log->segment_bytes = align_up(log->segment_bytes, SEG_DATA_START);
    log->copy_bytes_per_s = cfg->copy_bytes_per_s ? cfg->copy_bytes_per_s : COPY_BYTES_PER_S;
    log->shrink_after_ns = cfg->shrink_after_ns ? cfg->shrink_after_ns : SHRINK_AFTER_NS;
    log->block_bytes = choose_block_bytes(log);
    batch_queue_init(&log->queue);
    batch_queue_init(&log->pending);
    registry_init(&log->reg);
    log->reads.tail = &log->reads.head;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->reg_lock, NULL);
    pthread_mutex_init(&log->reads.lock, NULL);
    cond_init_mono(&log->work);
    cond_init_mono(&log->spare.work);
    cond_init_mono(&log->copier.work);
    cond_init_mono(&log->reads.work);
    cond_init_mono(&log->reads.idle);
    return log;
}

static enum tg_err open_error(char **why, const char *path, int rc)
{
    char text[128];
    *why = xasprintf("%s: %s", path, strerror_r(rc, text, sizeof text));
    return disk_err(rc);
}

/* The directory log/ in <dir>, and its lock. */
static enum tg_err enter(struct log_store *log, const char *dir, char **why)
{
    enum tg_err e = TG_OK;
    char *path = xasprintf("%s/log", dir);
    if (mkdir(path, 0750) < 0 && errno != EEXIST)
        e = open_error(why, path, errno);
    if (!e && (log->log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        e = open_error(why, path, errno);
    int rc = e ? 0 : disk_open(NULL, log->log_fd, "lock", O_RDWR | O_CREAT, &log->lock_fd);
    if (rc)
        e = open_error(why, path, rc);
    if (!e && flock(log->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        e = TG_EBUSY;
        *why = xasprintf("%s: another process has it open", path);
    }
    int dir_fd = e ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0) {
        rc = disk_sync(log->faults, dir_fd); /* so that log/ itself is there after a power cut */
        close(dir_fd);
        if (rc)
            e = open_error(why, dir, rc);
    }
    free(path);
    return e;
}

/* A failing pthread_create means a machine without memory or threads to give: as with malloc. */
static void start(pthread_t *t, void *(*main_fn)(void *), struct log_store *log)
{
    int rc = pthread_create(t, NULL, main_fn, log);
    TG_ASSERT(rc == 0);
}

static void start_threads(struct log_store *log)
{
    /* Without an open segment the first append would wait for one: begin at once. */
    log->spare.wanted = log->spare.hurry = !log->open && !log->spare.ready;
    log->recheck = true; /* there may be something to recycle */
    log->copier.look = true;
    log->spare.free_least = log->spare.free_count;
    log->spare.look_ns = mono_now_ns();
    start(&log->spare.thread, spare_main, log);
    start(&log->committer, committer_main, log);
    start(&log->copier.thread, copier_main, log);
    for (int i = 0; i < READER_THREADS; i++)
        start(&log->reads.threads[i], reader_main, log);
}

enum tg_err log_open(struct ledger_store **out, const struct log_config *cfg, char **why)
{
    struct log_store *log = new_store(cfg);
    *why = NULL;
    enum tg_err e = enter(log, cfg->dir, why);
    if (!e)
        e = log_recover(log, why);
    if (e) {
        free_store(log);
        return e;
    }
    start_threads(log);
    *out = &log->base;
    return TG_OK;
}

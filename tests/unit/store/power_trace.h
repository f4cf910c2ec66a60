/* power_trace.h - a disk whose power can be cut afterwards. While a store works on real files,
 * every write, sync, creation, rename and removal is put down, in order, together with notes of
 * what the store was asked and what it acknowledged. From such a trace the directory can be made as
 * a power cut at any moment could have left it:
 *
 *   - what was written before a sync began that had returned by then is there;
 *   - of everything else any subset: every sector has, on its own, the state after any of the
 *     writes to it; a length or a name changed or did not.
 *
 * Processes may be killed meanwhile, which loses nothing that they wrote.
 *
 * The choice comes from a random number generator, so an image can be made again. */
#ifndef TESTS_POWER_TRACE_H
#define TESTS_POWER_TRACE_H

#include "log_fixture.h"

#include <sched.h>

#define PT_FILES 4096
#define PT_NAME  32

enum pt_type {
    PT_CREATE, /* file, name */
    PT_WRITE,  /* file, offset, len, bytes */
    PT_SIZE,   /* file, len: it is at least so long */
    PT_SYNC,   /* file (PT_DIR: the directory): begins */
    PT_SYNCED, /* file; offset: the index of its begin */
    PT_RENAME, /* name, to */
    PT_UNLINK, /* name */
    PT_NOTE,   /* kind, ledger, entry: whatever the test says */
};
#define PT_DIR (-1)

struct pt_event {
    enum pt_type type;
    int file, kind;
    uint64_t offset, len;
    uint64_t ledger, entry;
    uint8_t *bytes;
    char name[PT_NAME], to[PT_NAME];
};

struct pt_file {
    ino_t inode;
    char name[PT_NAME]; /* at the beginning; empty: it was not there */
    uint8_t *bytes;     /* its content then */
    uint64_t size;
};

struct pt; /* a trace */

struct pt_life { /* of the process that the store is in: the context of its hooks */
    struct pt *trace;
    uint32_t until;   /* it is killed when the trace has so many events */
    uint32_t renames; /* or after so many of its renames; 0: not */
};

struct pt {
    pthread_mutex_t lock;
    struct pt_event *events;
    uint32_t count, cap;
    struct pt_file files[PT_FILES];
    int file_count;
};

static inline uint64_t pt_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- recording ---- */

static inline struct pt_event *pt_add(struct pt *t, enum pt_type type, int file) /* lock held */
{
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4096;
        t->events = xrealloc(t->events, t->cap * sizeof *t->events);
    }
    struct pt_event *e = &t->events[t->count++];
    *e = (struct pt_event){.type = type, .file = file};
    return e;
}

/* Lock taken. A killed process does nothing any more; its calls fail, so that it takes nothing for
 * done. */
static inline struct pt *pt_enter(void *ctx)
{
    struct pt_life *life = ctx;
    pthread_mutex_lock(&life->trace->lock);
    if (life->trace->count < life->until)
        return life->trace;
    life->until = 0;
    pthread_mutex_unlock(&life->trace->lock);
    errno = EIO;
    return NULL;
}

static inline void pt_note(struct pt *t, int kind, uint64_t ledger, uint64_t entry)
{
    pthread_mutex_lock(&t->lock);
    struct pt_event *e = pt_add(t, PT_NOTE, 0);
    e->kind = kind;
    e->ledger = ledger;
    e->entry = entry;
    pthread_mutex_unlock(&t->lock);
}

static inline int pt_new_file(struct pt *t, ino_t inode)
{
    TG_ASSERT(t->file_count < PT_FILES);
    t->files[t->file_count].inode = inode;
    return t->file_count++;
}

static inline int pt_file_of(struct pt *t, int fd)
{
    struct stat st;
    TG_ASSERT(fstat(fd, &st) == 0);
    if (S_ISDIR(st.st_mode))
        return PT_DIR;
    for (int i = t->file_count - 1; i >= 0; i--)
        if (t->files[i].inode == st.st_ino)
            return i;
    return pt_new_file(t, st.st_ino);
}

static inline int pt_openat(void *ctx, int dir_fd, const char *name, int flags, mode_t mode)
{
    struct pt *t = pt_enter(ctx);
    if (!t)
        return -1;
    struct stat st;
    bool there = fstatat(dir_fd, name, &st, 0) == 0;
    if (there && flags & O_TRUNC) { /* as good as a new one: nothing of the old is looked at */
        snprintf(pt_add(t, PT_UNLINK, 0)->name, PT_NAME, "%s", name);
        TG_ASSERT(unlinkat(dir_fd, name, 0) == 0);
        there = false;
    }
    int fd = openat(dir_fd, name, flags, mode);
    if (fd >= 0 && !there) {
        TG_ASSERT(fstat(fd, &st) == 0);
        for (int i = 0; i < t->file_count; i++) /* a number used again */
            if (t->files[i].inode == st.st_ino)
                t->files[i].inode = 0;
        int file = pt_new_file(t, st.st_ino);
        snprintf(pt_add(t, PT_CREATE, file)->name, PT_NAME, "%s", name);
    }
    pthread_mutex_unlock(&t->lock);
    return fd;
}

static inline ssize_t pt_pwritev(void *ctx, int fd, const struct iovec *iov, int count,
                                 off_t offset)
{
    struct pt *t = pt_enter(ctx);
    if (!t)
        return -1;
    ssize_t n = pwritev(fd, iov, count, offset);
    if (n > 0) {
        struct pt_event *e = pt_add(t, PT_WRITE, pt_file_of(t, fd));
        e->offset = (uint64_t)offset;
        e->len = (uint64_t)n;
        e->bytes = xmalloc((size_t)n);
        uint64_t at = 0;
        for (int i = 0; i < count && at < e->len; i++) {
            uint64_t some = e->len - at < iov[i].iov_len ? e->len - at : iov[i].iov_len;
            memcpy(e->bytes + at, iov[i].iov_base, some);
            at += some;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* Real syncs would only take time. Others get a chance to write between the two events. */
static inline int pt_fdatasync(void *ctx, int fd)
{
    struct pt *t = pt_enter(ctx);
    if (!t)
        return -1;
    int file = pt_file_of(t, fd);
    uint32_t begin = t->count;
    pt_add(t, PT_SYNC, file);
    pthread_mutex_unlock(&t->lock);
    sched_yield();
    if (!pt_enter(ctx))
        return -1;
    pt_add(t, PT_SYNCED, file)->offset = begin;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static inline int pt_fallocate(void *ctx, int fd, off_t offset, off_t len)
{
    struct pt *t = pt_enter(ctx);
    struct stat st;
    if (!t)
        return -1;
    int rc = fstat(fd, &st);
    if (rc == 0 && st.st_size < offset + len)
        rc = ftruncate(fd, offset + len);
    if (rc == 0)
        pt_add(t, PT_SIZE, pt_file_of(t, fd))->len = (uint64_t)(offset + len);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

static inline int pt_renameat(void *ctx, int dir_fd, const char *from, const char *to)
{
    struct pt *t = pt_enter(ctx);
    if (!t)
        return -1;
    int rc = renameat(dir_fd, from, dir_fd, to);
    struct pt_event *e = rc ? NULL : pt_add(t, PT_RENAME, 0);
    if (e) {
        snprintf(e->name, PT_NAME, "%s", from);
        snprintf(e->to, PT_NAME, "%s", to);
        struct pt_life *life = ctx;
        if (life->renames && --life->renames == 0)
            life->until = t->count;
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}

static inline int pt_unlinkat(void *ctx, int dir_fd, const char *name)
{
    struct pt *t = pt_enter(ctx);
    if (!t)
        return -1;
    int rc = unlinkat(dir_fd, name, 0);
    if (rc == 0)
        snprintf(pt_add(t, PT_UNLINK, 0)->name, PT_NAME, "%s", name);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

static inline struct ls_faults pt_hooks(struct pt_life *life)
{
    return (struct ls_faults){.ctx = life,
                              .openat = pt_openat,
                              .pwritev = pt_pwritev,
                              .fdatasync = pt_fdatasync,
                              .fallocate = pt_fallocate,
                              .renameat = pt_renameat,
                              .unlinkat = pt_unlinkat};
}

/* Begins a trace of <log_dir>: what is there now is on disk. */
static inline struct pt *pt_begin(const char *log_dir)
{
    struct pt *t = xcalloc(1, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    struct dirent **list;
    int n = scandir(log_dir, &list, NULL, snap_by_name);
    for (int i = 0; i < n; i++) {
        char path[512];
        size_t size;
        struct stat st;
        snprintf(path, sizeof path, "%s/%.200s", log_dir, list[i]->d_name);
        if (strchr(list[i]->d_name, '-') && stat(path, &st) == 0) {
            struct pt_file *f = &t->files[pt_new_file(t, st.st_ino)];
            snprintf(f->name, sizeof f->name, "%.31s", list[i]->d_name);
            f->bytes = fx_load(path, &size);
            f->size = size;
        }
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return t;
}

static inline void pt_free(struct pt *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        free(t->events[i].bytes);
    for (int i = 0; i < t->file_count; i++)
        free(t->files[i].bytes);
    free(t->events);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- the image after a cut ---- */

struct pt_entry { /* of the directory */
    char name[PT_NAME];
    int file;
};

struct pt_image {
    struct pt_entry entries[PT_FILES];
    int entry_count;
    uint8_t *bytes[PT_FILES]; /* by file */
    uint64_t size[PT_FILES];
};

static inline void pt_image_free(struct pt_image *im)
{
    for (int i = 0; i < PT_FILES; i++)
        free(im->bytes[i]);
    free(im);
}

/* Events on <file> before this one are on disk when the power goes before event <cut>. */
static inline uint32_t pt_durable(const struct pt *t, uint32_t cut, int file)
{
    uint32_t durable = 0;
    for (uint32_t i = 0; i < cut; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->type == PT_SYNCED && e->file == file && e->offset > durable)
            durable = (uint32_t)e->offset;
    }
    return durable;
}

static inline void pt_resize(struct pt_image *im, int file, uint64_t size)
{
    if (size <= im->size[file])
        return;
    im->bytes[file] = xrealloc(im->bytes[file], size);
    memset(im->bytes[file] + im->size[file], 0, size - im->size[file]);
    im->size[file] = size;
}

/* How much of what is not synced arrives: each sector takes part in the first so many writes. */
enum { PT_NOTHING, PT_ALL, PT_EVEN, PT_MOST, PT_LITTLE, PT_WAYS };

static inline uint32_t pt_limit(uint64_t *rng, int way, uint32_t writes)
{
    uint64_t r = pt_random(rng);
    uint32_t any = (uint32_t)(r / 16 % (writes + 1));
    switch (way) {
    case PT_NOTHING:
        return 0;
    case PT_ALL:
        return writes;
    case PT_MOST:
        return r % 8 ? writes : any;
    case PT_LITTLE:
        return r % 8 ? 0 : any;
    default:
        return any;
    }
}

static inline void pt_apply_pending(const struct pt *t, uint32_t from, uint32_t cut, int file,
                                    uint64_t *rng, struct pt_image *im)
{
    uint32_t writes = 0, sizes = 0;
    uint64_t most = im->size[file];
    for (uint32_t i = from; i < cut; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->file != file || (e->type != PT_WRITE && e->type != PT_SIZE))
            continue;
        writes += e->type == PT_WRITE;
        uint64_t end = e->type == PT_WRITE ? e->offset + e->len : e->len;
        sizes += end > most;
        most = end > most ? end : most;
    }
    int way = (int)(pt_random(rng) % PT_WAYS);
    uint64_t sector = pt_random(rng) % 2 ? 512 : 4096, kept_size = im->size[file], grown = 0;
    uint32_t keep_sizes = pt_limit(rng, way, sizes);
    uint32_t *limit = xcalloc(most / sector + 1, sizeof *limit);
    for (uint64_t s = 0; s <= most / sector; s++)
        limit[s] = pt_limit(rng, way, writes);
    pt_resize(im, file, most);
    uint64_t seen = kept_size;
    for (uint32_t i = from, w = 0; i < cut; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->file != file || (e->type != PT_WRITE && e->type != PT_SIZE))
            continue;
        uint64_t end = e->type == PT_WRITE ? e->offset + e->len : e->len;
        if (end > seen) {
            seen = end;
            if (grown++ < keep_sizes)
                kept_size = end;
        }
        for (uint64_t at = e->offset; e->type == PT_WRITE && at < end;) {
            uint64_t stop = (at / sector + 1) * sector < end ? (at / sector + 1) * sector : end;
            if (w < limit[at / sector])
                memcpy(im->bytes[file] + at, e->bytes + (at - e->offset), stop - at);
            at = stop;
        }
        w += e->type == PT_WRITE;
    }
    im->size[file] = kept_size;
    free(limit);
}

static inline void pt_build_file(const struct pt *t, uint32_t cut, int file, uint64_t *rng,
                                 struct pt_image *im)
{
    const struct pt_file *f = &t->files[file];
    pt_resize(im, file, f->size);
    if (f->size)
        memcpy(im->bytes[file], f->bytes, f->size);
    uint32_t durable = pt_durable(t, cut, file);
    for (uint32_t i = 0; i < durable; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->file != file)
            continue;
        if (e->type == PT_SIZE)
            pt_resize(im, file, e->len);
        if (e->type != PT_WRITE)
            continue;
        pt_resize(im, file, e->offset + e->len);
        memcpy(im->bytes[file] + e->offset, e->bytes, e->len);
    }
    pt_apply_pending(t, durable, cut, file, rng, im);
}

static inline int pt_find(const struct pt_image *im, const char *name)
{
    for (int i = 0; i < im->entry_count; i++)
        if (strcmp(im->entries[i].name, name) == 0)
            return i;
    return -1;
}

static inline void pt_remove(struct pt_image *im, const char *name, int file)
{
    int i = pt_find(im, name);
    if (i >= 0 && (file < 0 || im->entries[i].file == file))
        im->entries[i] = im->entries[--im->entry_count];
}

static inline void pt_put(struct pt_image *im, const char *name, int file)
{
    pt_remove(im, name, -1);
    snprintf(im->entries[im->entry_count].name, PT_NAME, "%s", name);
    im->entries[im->entry_count++].file = file;
}

/* <now> follows what really was in the directory, <im> what arrived on disk. */
static inline void pt_build_dir(const struct pt *t, uint32_t cut, uint64_t *rng,
                                struct pt_image *im)
{
    struct pt_image *now = xcalloc(1, sizeof *now);
    for (int i = 0; i < t->file_count; i++)
        if (t->files[i].name[0]) {
            pt_put(im, t->files[i].name, i);
            pt_put(now, t->files[i].name, i);
        }
    uint32_t durable = pt_durable(t, cut, PT_DIR);
    bool in_order = pt_random(rng) % 2, broken = false;
    for (uint32_t i = 0; i < cut; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->type != PT_CREATE && e->type != PT_RENAME && e->type != PT_UNLINK)
            continue;
        bool keep = i < durable || (!broken && pt_random(rng) % 2);
        broken = broken || (!keep && in_order);
        int file = e->type == PT_CREATE ? e->file : now->entries[pt_find(now, e->name)].file;
        for (int both = 0; both < 1 + keep; both++) {
            struct pt_image *to = both ? im : now;
            if (e->type != PT_CREATE)
                pt_remove(to, e->name, file);
            if (e->type != PT_UNLINK)
                pt_put(to, e->type == PT_CREATE ? e->name : e->to, file);
        }
    }
    free(now);
}

/* The directory as a cut before event <cut> may leave it; <seed> chooses which way. */
static inline struct pt_image *pt_cut(const struct pt *t, uint32_t cut, uint64_t seed)
{
    struct pt_image *im = xcalloc(1, sizeof *im);
    pt_build_dir(t, cut, &seed, im);
    for (int i = 0; i < im->entry_count; i++)
        if (!im->bytes[im->entries[i].file])
            pt_build_file(t, cut, im->entries[i].file, &seed, im);
    return im;
}

static inline void pt_write_image(const struct pt_image *im, const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%.400s/log", dir);
    fx_remove_dir(path);
    (void)mkdir(dir, 0750);
    TG_ASSERT(mkdir(path, 0750) == 0);
    for (int i = 0; i < im->entry_count; i++) {
        snprintf(path, sizeof path, "%.400s/log/%s", dir, im->entries[i].name);
        fx_store(path, im->bytes[im->entries[i].file], im->size[im->entries[i].file]);
    }
}

#endif

/* line_file.c - see line_file.h. Under the lock: <waiting>, <dropped> and <stop>; the file is its
 * thread's alone. */
#include "base/line_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"

struct line_file {
    char *path, *older;
    uint64_t max_bytes, size;
    int fd;
    bool complained;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct bytes waiting;
    uint32_t waiting_lines;
    uint64_t dropped;
    bool stop;
};

static int open_file(const char *path, uint64_t *size)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    *size = fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return fd;
}

static void rotate(struct line_file *f)
{
    close(f->fd);
    (void)rename(f->path, f->older); /* when it can't be, the same file goes on: see write_all */
    f->fd = open_file(f->path, &f->size);
}

static bool write_all(struct line_file *f, const struct bytes *b)
{
    if (f->fd >= 0 && f->size > 0 && f->size + b->len > f->max_bytes / 2)
        rotate(f);
    if (f->fd < 0)
        f->fd = open_file(f->path, &f->size);
    if (f->fd < 0 || f->size + b->len > f->max_bytes / 2 + LINE_FILE_WAITING_MAX)
        return false;
    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(f->fd, b->data + done, b->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        done += (size_t)n;
        f->size += (size_t)n;
    }
    return true;
}

/* Without the lock. */
static void write_or_drop(struct line_file *f, struct bytes *b, uint32_t lines)
{
    bool ok = write_all(f, b);
    if (!ok && !f->complained)
        log_warn("%s: can't be written: %s; lines are dropped", f->path, strerror(errno));
    f->complained = !ok;
    bytes_fini(b);
    if (ok)
        return;
    pthread_mutex_lock(&f->lock);
    f->dropped += lines;
    pthread_mutex_unlock(&f->lock);
}

static void *run(void *arg)
{
    struct line_file *f = arg;
    for (;;) {
        pthread_mutex_lock(&f->lock);
        while (f->waiting.len == 0 && !f->stop)
            pthread_cond_wait(&f->work, &f->lock);
        struct bytes b = f->waiting;
        uint32_t lines = f->waiting_lines;
        f->waiting = (struct bytes){0};
        f->waiting_lines = 0;
        pthread_mutex_unlock(&f->lock);
        if (b.len == 0)
            return NULL;
        write_or_drop(f, &b, lines);
    }
}

static void free_file(struct line_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
    bytes_fini(&f->waiting);
    free(f->path);
    free(f->older);
    free(f);
}

enum tg_err line_file_open(struct line_file **out, const char *path, uint64_t max_bytes, char **why)
{
    struct line_file *f = xcalloc(1, sizeof *f);
    f->path = xstrdup(path);
    f->older = xasprintf("%s.1", path);
    f->max_bytes = max_bytes;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    f->fd = open_file(path, &f->size);
    if (f->fd < 0 || pthread_create(&f->thread, NULL, run, f) != 0) {
        *why = xasprintf("%s: can't be opened: %s", path, strerror(errno));
        free_file(f);
        return TG_EIO;
    }
    *out = f;
    return TG_OK;
}

void line_file_add(struct line_file *f, const char *line)
{
    size_t len = strlen(line);
    pthread_mutex_lock(&f->lock);
    if (f->waiting.len + len + 1 > LINE_FILE_WAITING_MAX) {
        f->dropped++;
    } else {
        bytes_append(&f->waiting, line, len);
        bytes_append(&f->waiting, "\n", 1);
        f->waiting_lines++;
        pthread_cond_signal(&f->work);
    }
    pthread_mutex_unlock(&f->lock);
}

uint64_t line_file_dropped(struct line_file *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t n = f->dropped;
    pthread_mutex_unlock(&f->lock);
    return n;
}

void line_file_close(struct line_file *f)
{
    if (f == NULL)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    free_file(f);
}

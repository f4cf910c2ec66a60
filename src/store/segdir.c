/* The directory log/: which segments and free files there are. A name counts only when it is
 * exactly what we would have written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/engine.h"

static void add(uint32_t **list, uint32_t *count, uint32_t generation)
{
    *list = xrealloc(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = generation;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void take_name(struct segdir *d, const char *name)
{
    char expect[SEG_NAME_BYTES];
    const char *dash = strchr(name, '-');
    uint32_t generation = dash ? (uint32_t)strtoul(dash + 1, NULL, 10) : 0;
    segment_name(expect, generation);
    if (strcmp(name, expect) == 0) {
        add(&d->segments, &d->segment_count, generation);
        return;
    }
    segment_free_name(expect, generation);
    if (strcmp(name, expect) == 0)
        add(&d->free_files, &d->free_count, generation);
}

int segdir_read(int log_fd, struct segdir *d)
{
    memset(d, 0, sizeof *d);
    int fd = openat(log_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int rc = errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(dir));)
        take_name(d, e->d_name);
    int rc = errno;
    closedir(dir);
    if (d->segment_count)
        qsort(d->segments, d->segment_count, sizeof *d->segments, by_value);
    if (d->free_count)
        qsort(d->free_files, d->free_count, sizeof *d->free_files, by_value);
    return rc;
}

void segdir_fini(struct segdir *d)
{
    free(d->segments);
    free(d->free_files);
}

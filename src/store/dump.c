/* Lists every entry that lies in a data directory, live or not, without opening it as a store: it
 * may be in use meanwhile. Damage is not looked for; a segment's listing ends where its groups do.
 * An entry that was copied forward is listed twice until its first place is used again. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/engine.h"
#include "store/scan.h"

struct dump {
    FILE *out;
    uint32_t generation;
    uint64_t ledger; /* or LS_ALL_LEDGERS */
};

static enum tg_err print_entry(void *ctx, const struct record *r, uint64_t offset)
{
    const struct dump *d = ctx;
    if (!rec_is_entry(r) || (d->ledger != LS_ALL_LEDGERS && d->ledger != r->ledger))
        return TG_OK;
    int n = fprintf(
        d->out,
        "%" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu32 " %" PRIu32 "\n",
        d->generation, offset, r->ledger, r->entry, r->admitted_ns, r->messages, r->body_len);
    return n < 0 ? TG_EIO : TG_OK;
}

/* 0 or errno. */
static int dump_segment(int log_fd, struct dump *d)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, d->generation);
    int fd;
    int rc = disk_open(NULL, log_fd, name, O_RDONLY, &fd);
    if (rc)
        return rc == ENOENT ? 0 : rc; /* recycled meanwhile */
    struct stat st = {0};
    rc = fstat(fd, &st) < 0 ? errno : 0;
    struct window w;
    struct scan sc;
    window_init(&w, NULL, fd, (uint64_t)st.st_size);
    if (!rc && scan_segment(&w, d->generation, print_entry, d, &sc))
        rc = w.error ? w.error : EIO;
    window_fini(&w);
    close(fd);
    return rc;
}

enum tg_err log_dump(const char *dir, uint64_t ledger_or_all, void *file, char **why)
{
    char *path = xasprintf("%s/log", dir);
    int log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct segdir sd = {0};
    int rc = log_fd < 0 ? errno : segdir_read(log_fd, &sd);
    struct dump d = {.out = file, .ledger = ledger_or_all};
    for (uint32_t i = 0; i < sd.segment_count && !rc; i++) {
        d.generation = sd.segments[i];
        rc = dump_segment(log_fd, &d);
    }
    segdir_fini(&sd);
    if (log_fd >= 0)
        close(log_fd);
    if (rc) {
        char text[128];
        *why = xasprintf("%s: %s", path, strerror_r(rc, text, sizeof text));
    }
    free(path);
    return rc == ENOENT ? TG_ENOENT : disk_err(rc);
}

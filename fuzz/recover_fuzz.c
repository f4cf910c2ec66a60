/* recover_fuzz.c - any bytes as the only segment of a data directory: opening it never crashes, and
 * what was accepted once is accepted again with the same last entries. The first byte chooses
 * whether records and trailer get valid checksums first, without which nearly everything ends at
 * the first one. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/disk.h"
#include "store/ledger_store.h"
#include "store/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES (64 << 10)
#define LEDGERS       256 /* what restamp lets a record name */

enum { RESTAMP = 1, TRAILER = 2 };

static int no_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

static const struct ls_faults no_syncs = {.fdatasync = no_sync};

static void restamp(uint8_t *seg, uint64_t end)
{
    for (uint64_t at = SEG_DATA_START; at + sizeof(struct record) <= end;) {
        struct record *r = (struct record *)(void *)(seg + at);
        r->zero = 0;
        r->type = (uint16_t)(r->type % (REC_CLEAN + 1));
        r->body_len %= 1024;
        if (rec_size(r->body_len) > end - at)
            return;
        if (r->type != REC_GROUP)
            r->ledger %= LEDGERS;
        r->body_crc = crc32c(0, r + 1, r->body_len);
        rec_stamp(r, 1, at);
        at += rec_size(r->body_len);
    }
}

/* The last record becomes the footer: its body is what the fuzzer says. */
static void add_trailer(uint8_t *seg, uint64_t end)
{
    struct seg_trailer t = {.footer_offset = SEG_DATA_START, .generation = 1};
    struct footer_head head;
    memcpy(&head, seg + SEG_DATA_START + sizeof(struct record), sizeof head);
    t.head_len = sizeof head + head.runs * sizeof(struct footer_run) +
                 head.ledgers * sizeof(struct footer_ledger);
    t.body_len = end - SEG_DATA_START;
    if (t.head_len > t.body_len)
        return;
    t.head_crc = crc32c(0, seg + SEG_DATA_START + sizeof(struct record), t.head_len);
    seg_trailer_fill(&t);
    memcpy(seg + SEGMENT_BYTES - sizeof t, &t, sizeof t);
}

static void write_segment(const char *path, const uint8_t *data, size_t size)
{
    uint8_t *seg = xcalloc(1, SEGMENT_BYTES);
    uint8_t flags = data[0];
    uint64_t n = size - 1, most = SEGMENT_BYTES - SEG_DATA_START - sizeof(struct seg_trailer);
    if (n > most)
        n = most;
    memcpy(seg + SEG_DATA_START, data + 1, n);
    if (flags & RESTAMP)
        restamp(seg, SEG_DATA_START + n);
    if (flags & TRAILER && n > sizeof(struct record) + sizeof(struct footer_head))
        add_trailer(seg, SEG_DATA_START + n);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    TG_ASSERT(fd >= 0);
    TG_ASSERT(disk_write(NULL, fd, seg, SEGMENT_BYTES, 0) == 0);
    TG_ASSERT(segment_write_header(NULL, fd, 1) == 0);
    close(fd);
    free(seg);
}

/* False: refused. */
static bool open_once(const char *dir, uint64_t last[LEDGERS])
{
    struct budget budget;
    budget_init(&budget, 64 << 20);
    struct log_config cfg = {
        .dir = dir, .segment_bytes = SEGMENT_BYTES, .budget = &budget, .faults = &no_syncs};
    struct ledger_store *store;
    char *why;
    if (log_open(&store, &cfg, &why) != TG_OK) {
        TG_ASSERT(why);
        free(why);
        return false;
    }
    for (uint64_t l = 0; l < LEDGERS; l++) {
        last[l] = ls_last_entry(store, l);
        (void)ls_first_entry(store, l);
    }
    ls_close(store);
    return true;
}

static void clear(const char *log_dir)
{
    DIR *d = opendir(log_dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[] = "/tmp/tidegate-fuzz-XXXXXX";
    static bool made;
    if (size == 0)
        return 0;
    if (!made) {
        made = mkdtemp(dir) != NULL;
        TG_ASSERT(made);
        log_set_level(LOG_ERROR + 1);
    }
    char *log_dir = xasprintf("%s/log", dir), *path = xasprintf("%s/seg-00000001.log", log_dir);
    (void)mkdir(log_dir, 0750);
    write_segment(path, data, size);
    uint64_t first[LEDGERS], again[LEDGERS];
    if (open_once(dir, first)) {
        TG_ASSERT(open_once(dir, again));
        TG_ASSERT(memcmp(first, again, sizeof first) == 0);
    }
    clear(log_dir);
    free(path);
    free(log_dir);
    return 0;
}

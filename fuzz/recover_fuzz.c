/* recover_fuzz.c - any bytes as the one or two segments of a data directory: opening it never
 * crashes, nor does reading what it says is there, nor `store verify`; and what was accepted once
 * is accepted again with the same last entries. The first byte chooses how many segments there are,
 * and whether records and trailers get valid checksums first, without which nearly everything ends
 * at the first one. */
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

enum { RESTAMP = 1, TRAILER = 2, TWO = 4, TRAILER_OF_SECOND = 8 };

static int no_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

static const struct ls_faults no_syncs = {.fdatasync = no_sync};

static void restamp(uint8_t *seg, uint64_t end, uint32_t generation)
{
    for (uint64_t at = SEG_DATA_START; at + sizeof(struct record) <= end;) {
        struct record *r = (struct record *)(void *)(seg + at);
        r->zero = 0;
        r->type = (uint16_t)(r->type % (REC_COPY + 1));
        r->body_len %= 1024;
        if (rec_size(r->body_len) > end - at)
            return;
        if (r->type != REC_GROUP)
            r->ledger %= LEDGERS;
        r->body_crc = crc32c(0, r + 1, r->body_len);
        rec_stamp(r, generation, at);
        at += rec_size(r->body_len);
    }
}

/* All of it becomes the footer: its body is what the fuzzer says. */
static void add_trailer(uint8_t *seg, uint64_t end, uint32_t generation)
{
    struct record *r = (struct record *)(void *)(seg + SEG_DATA_START);
    const uint8_t *body = (const uint8_t *)(r + 1);
    struct seg_trailer t = {.footer_offset = SEG_DATA_START, .generation = generation};
    struct footer_head head;
    memcpy(&head, body, sizeof head);
    t.head_len = sizeof head + head.runs * sizeof(struct footer_run) +
                 head.ledgers * sizeof(struct footer_ledger);
    t.body_len = end - SEG_DATA_START - sizeof *r;
    if (t.head_len > t.body_len)
        return;
    *r = (struct record){.body_len = (uint32_t)t.body_len, .type = REC_FOOTER};
    r->body_crc = crc32c(0, body, t.body_len);
    rec_stamp(r, generation, SEG_DATA_START);
    t.head_crc = crc32c(0, body, t.head_len);
    seg_trailer_fill(&t);
    memcpy(seg + SEGMENT_BYTES - sizeof t, &t, sizeof t);
}

static void write_segment(const char *log_dir, const uint8_t *data, size_t size,
                          uint32_t generation, bool stamp, bool trailer)
{
    uint8_t *seg = xcalloc(1, SEGMENT_BYTES);
    uint64_t n = size, most = SEGMENT_BYTES - SEG_DATA_START - sizeof(struct seg_trailer);
    if (n > most)
        n = most;
    memcpy(seg + SEG_DATA_START, data, n);
    if (stamp)
        restamp(seg, SEG_DATA_START + n, generation);
    if (trailer && n > sizeof(struct record) + sizeof(struct footer_head))
        add_trailer(seg, SEG_DATA_START + n, generation);
    char name[SEG_NAME_BYTES];
    segment_name(name, generation);
    char *path = xasprintf("%s/%s", log_dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    TG_ASSERT(fd >= 0);
    TG_ASSERT(disk_write(NULL, fd, seg, SEGMENT_BYTES, 0) == 0);
    TG_ASSERT(segment_write_header(NULL, fd, generation) == 0);
    close(fd);
    free(path);
    free(seg);
}

static void write_segments(const char *log_dir, const uint8_t *data, size_t size)
{
    uint8_t flags = data[0];
    size_t first = flags & TWO ? (size - 1) / 2 / REC_ALIGN * REC_ALIGN : size - 1;
    write_segment(log_dir, data + 1, first, 1, flags & RESTAMP, flags & TRAILER);
    if (flags & TWO)
        write_segment(log_dir, data + 1 + first, size - 1 - first, 2, flags & RESTAMP,
                      flags & TRAILER_OF_SECOND);
}

static void on_read(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                    struct ls_hold *hold)
{
    (void)e, (void)entries, (void)count;
    ls_entries_release(ctx, hold);
}
static void on_append(void *p, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e)
{
    (void)p, (void)ctx, (void)ledger, (void)entry, (void)e;
}
static void on_state(void *p, enum ls_state state, const char *why)
{
    (void)p, (void)state, (void)why;
}
static void wake(void *p)
{
    (void)p;
}

static void read_some(struct ledger_store *store)
{
    static const struct ls_port_ops ops = {on_append, on_state, wake};
    struct ls_port *p = ls_port_open(store, &ops, NULL);
    for (uint64_t l = 0; l < LEDGERS; l++)
        if (ls_last_entry(store, l) != LS_NO_ENTRY)
            ls_read(p, l, ls_first_entry(store, l), 100, 1 << 20, on_read, p);
    ls_port_finish_reads(p);
    ls_port_close(p);
}

static void verify(const char *dir)
{
    static FILE *nowhere;
    struct log_findings found;
    char *why;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    enum tg_err e = log_verify(dir, nowhere, &found, &why);
    TG_ASSERT((e == TG_OK || e == TG_ECORRUPT) && !why);
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
    read_some(store);
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
    char *log_dir = xasprintf("%s/log", dir);
    (void)mkdir(log_dir, 0750);
    write_segments(log_dir, data, size);
    uint64_t first[LEDGERS], again[LEDGERS];
    verify(dir);
    if (open_once(dir, first)) {
        TG_ASSERT(open_once(dir, again));
        TG_ASSERT(memcmp(first, again, sizeof first) == 0);
    }
    clear(log_dir);
    free(log_dir);
    return 0;
}

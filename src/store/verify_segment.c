/* One segment, from its header to its trailer. A sealed one is walked record by record, and each is
 * held against the footer's list of entries, in the order of offsets: every entry in the footer
 * must be there, and good. In an open one the groups are scanned as a start does. The bytes that
 * are looked at are those that somebody may look at later: padding and what is behind the footer
 * are not. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/disk.h"
#include "store/footer.h"
#include "store/scan.h"
#include "store/segment.h"
#include "store/verify.h"

#define LINES_MOST   100 /* of one segment; the rest is counted */
#define SEARCH_BYTES (256u << 10)

struct listed { /* an entry of the footer */
    uint32_t offset_units, body_len, messages;
    uint32_t run, nth;
};

struct check {
    struct verify_report *report;
    FILE *text;
    char name[SEG_NAME_BYTES];
    uint32_t generation;
    struct window w;
    struct footer footer;
    struct listed *list; /* by offset */
    uint64_t list_count, list_at;
};

TG_PRINTF(4, 5)
static void problem(struct check *c, bool stops, uint64_t offset, const char *fmt, ...)
{
    c->report->stopping += stops;
    if (c->report->problems++ >= LINES_MOST)
        return;
    va_list args;
    va_start(args, fmt);
    fprintf(c->text, "%s: offset %llu: ", c->name, (unsigned long long)offset);
    vfprintf(c->text, fmt, args);
    fprintf(c->text, "%s\n", stops ? " (the broker does not start with this)" : "");
    va_end(args);
}

/* ---- the footer's list ---- */

static int by_offset(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    return (x->offset_units > y->offset_units) - (x->offset_units < y->offset_units);
}

static uint64_t listed_offset(const struct listed *it)
{
    return (uint64_t)it->offset_units * REC_ALIGN;
}

/* A good footer's runs and items, into c->list. */
static void load_list(struct check *c)
{
    const struct footer *ft = &c->footer;
    c->list = xcalloc(ft->item_count + 1, sizeof *c->list);
    for (uint32_t i = 0; i < ft->run_count; i++) {
        const struct footer_run *run = &ft->runs[i];
        const char *fault = footer_run_fault(ft, run);
        if (fault) {
            problem(c, true, ft->trailer.footer_offset, "%s", fault);
            continue;
        }
        for (uint32_t k = 0; k < run->count && c->list_count < ft->item_count; k++) {
            uint64_t at = ft->items_offset + (run->first_item + k) * sizeof(struct footer_item);
            const struct footer_item *item = window_at(&c->w, at, sizeof *item);
            if (!item)
                return;
            c->list[c->list_count++] =
                (struct listed){item->offset_units, item->body_len, item->messages, i, k};
        }
    }
    qsort(c->list, c->list_count, sizeof *c->list, by_offset);
}

static void listed_problem(struct check *c, const struct listed *it, const char *what)
{
    const struct footer_run *run = &c->footer.runs[it->run];
    problem(c, false, listed_offset(it), "entry %llu:%llu %s", (unsigned long long)run->ledger,
            (unsigned long long)(run->first + it->nth), what);
}

/* Entries listed before <offset> that no record was found for. False: there are none. */
static bool missed(struct check *c, uint64_t offset)
{
    uint64_t from = c->list_at;
    while (c->list_at < c->list_count && listed_offset(&c->list[c->list_at]) < offset)
        listed_problem(c, &c->list[c->list_at++], "is damaged: there is no such record");
    return c->list_at > from;
}

/* A record whose header is good. */
static void compare(struct check *c, const struct record *r, uint64_t offset, bool body_good)
{
    missed(c, offset);
    const struct listed *it = c->list_at < c->list_count ? &c->list[c->list_at] : NULL;
    if (!it || listed_offset(it) != offset) {
        if (!body_good)
            problem(c, false, offset,
                    "a record that is needed no more does not match its checksum");
        return;
    }
    c->list_at++;
    const struct footer_run *run = &c->footer.runs[it->run];
    if (!rec_is_entry(r) || r->ledger != run->ledger || r->entry != run->first + it->nth ||
        r->body_len != it->body_len || r->messages != it->messages)
        listed_problem(c, it, "is not what the footer says of it");
    else if (!body_good)
        listed_problem(c, it, "is damaged: it does not match its checksum");
}

/* ---- the records of a sealed segment ---- */

/* The next place from <at> on, before <end>, where a record's header is good; <end>: none. */
static uint64_t next_header(struct check *c, uint64_t at, uint64_t end)
{
    while (at + sizeof(struct record) <= end) {
        uint64_t n = end - at < SEARCH_BYTES ? end - at : SEARCH_BYTES, i = 0;
        const uint8_t *p = window_at(&c->w, at, n);
        for (; p && i + sizeof(struct record) <= n; i += REC_ALIGN)
            if (rec_header_ok((const struct record *)(const void *)(p + i), c->generation, at + i))
                return at + i;
        if (!p)
            break;
        at += i;
    }
    return end;
}

/* Returns where the next record should be. */
static uint64_t check_record(struct check *c, uint64_t at, uint64_t end)
{
    const struct record *p = window_at(&c->w, at, sizeof *p);
    if (!p || !rec_header_ok(p, c->generation, at) || rec_size(p->body_len) > end - at) {
        uint64_t next = next_header(c, at + REC_ALIGN, end);
        if (!missed(c, next))
            problem(c, false, at, "a record that is needed no more is damaged");
        return next;
    }
    struct record r = *p;
    uint32_t crc;
    bool good = window_crc(&c->w, at + sizeof r, r.body_len, &crc) && crc == r.body_crc;
    c->report->entries += rec_is_entry(&r);
    compare(c, &r, at, good);
    return at + rec_size(r.body_len);
}

static void check_sealed(struct check *c)
{
    uint64_t end = c->footer.trailer.footer_offset;
    c->report->state = VERIFY_SEALED;
    load_list(c);
    for (uint64_t at = SEG_DATA_START; at < end && !c->w.error;)
        at = check_record(c, at, end);
    missed(c, UINT64_MAX);
    free(c->list);
}

/* ---- an open segment ---- */

static enum tg_err count_entry(void *ctx, const struct record *r, uint64_t offset)
{
    struct check *c = ctx;
    (void)offset;
    c->report->entries += rec_is_entry(r);
    return TG_OK;
}

static void check_open(struct check *c)
{
    struct scan sc;
    c->report->state = VERIFY_OPEN;
    if (scan_segment(&c->w, c->generation, count_entry, c, &sc))
        return;
    c->report->end = sc.end;
    if (scan_damaged(&sc))
        problem(c, true, sc.bad, "a record is damaged, though the log was on disk up to %llu",
                (unsigned long long)sc.synced);
    else if (sc.stale_end > sc.end)
        c->report->torn_bytes = sc.stale_end - sc.end;
}

/* ---- all of it ---- */

/* Where a footer should be, as far as that is known. */
static uint64_t footer_place(const struct check *c)
{
    const struct seg_trailer *t = &c->footer.trailer;
    if (seg_trailer_ok(t, c->generation, c->w.size_bytes))
        return t->footer_offset;
    return c->w.size_bytes > sizeof *t ? c->w.size_bytes - sizeof *t : 0;
}

static int check_file(struct check *c, int fd, bool begun_behind)
{
    const struct seg_header *h = window_at(&c->w, 0, sizeof *h);
    if (!h || !seg_header_ok(h, c->generation)) {
        problem(c, true, 0, "this is not the header of that segment");
        return c->w.error;
    }
    int rc = footer_read(NULL, fd, c->generation, c->w.size_bytes, &c->footer);
    if (rc)
        return rc;
    bool whole = c->footer.good && footer_whole(&c->footer, &c->w);
    if (begun_behind && !c->footer.good)
        problem(c, true, footer_place(c),
                "the footer is damaged, though later segments have entries");
    else if (begun_behind && !whole)
        problem(c, false, footer_place(c), "the footer is damaged in its list of entries");
    if (whole || (begun_behind && c->footer.good))
        check_sealed(c);
    else
        check_open(c);
    footer_fini(&c->footer);
    return c->w.error;
}

int verify_segment(int log_fd, uint32_t generation, bool begun_behind, struct verify_report *out)
{
    struct check c = {.report = out, .generation = generation};
    *out = (struct verify_report){.state = VERIFY_GONE};
    segment_name(c.name, generation);
    int fd;
    int rc = disk_open(NULL, log_fd, c.name, O_RDONLY, &fd);
    if (rc)
        return rc == ENOENT ? 0 : rc;
    struct stat st = {0}, now;
    rc = fstat(fd, &st) < 0 ? errno : 0;
    size_t len;
    c.text = open_memstream(&out->text, &len);
    TG_ASSERT(c.text);
    out->state = VERIFY_OPEN;
    out->bytes = (uint64_t)st.st_size;
    window_init(&c.w, NULL, fd, out->bytes);
    if (!rc)
        rc = check_file(&c, fd, begun_behind);
    window_fini(&c.w);
    close(fd);
    if (out->problems > LINES_MOST)
        fprintf(c.text, "%s: and %u more\n", c.name, out->problems - LINES_MOST);
    fclose(c.text);
    if (fstatat(log_fd, c.name, &now, 0) < 0 || now.st_ino != st.st_ino) {
        free(out->text);
        *out = (struct verify_report){.state = VERIFY_GONE};
        return 0;
    }
    return rc;
}

/* Fetching. The registry says where the entries lie - only what is durable is in it - and the
 * segment is pinned, so that it keeps its name and bytes. Whatever was read is believed only when
 * record header, ledger, entry and body checksum are right, so a footer's items need no check of
 * their own. */
#include "store/fetch.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/engine.h"

/* Other ledgers' records between two of ours are read along when they are less than this. */
#define GAP_BYTES 4096

/* ---- the plan ---- */

void fetch_plan(const struct ledger *l, const struct run *run, uint64_t first, uint32_t most,
                struct fetch *out)
{
    uint32_t skip = first > run->first ? (uint32_t)(first - run->first) : 0;
    uint32_t n = run->count - skip < most ? run->count - skip : most;
    *out = (struct fetch){
        .seg = run->seg,
        .generation = run->seg->generation,
        .size_bytes = run->seg->size_bytes,
        .ledger = l->id,
        .first = run->first + skip,
        .count = n,
        .items = xmalloc(n * sizeof *out->items),
    };
    if (run->seg->sealed)
        out->items_offset = run->items_offset + skip * sizeof *out->items;
    else
        memcpy(out->items, run->items + skip, n * sizeof *out->items);
    run->seg->pins++;
}

void fetch_fini(struct log_store *log, struct fetch *f)
{
    struct segment *s = f->seg;
    free(f->items);
    pthread_mutex_lock(&log->reg_lock);
    bool needless = --s->pins == 0 && s->sealed && s->live_runs == 0;
    log->reg.look_empty = log->reg.look_empty || needless;
    pthread_mutex_unlock(&log->reg_lock);
    if (!needless)
        return;
    pthread_mutex_lock(&log->lock);
    log->recheck = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
}

int fetch_open(struct log_store *log, const struct fetch *f, int *fd)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, f->generation);
    int rc = disk_open(log->faults, log->log_fd, name, O_RDONLY, fd);
    if (rc)
        log_error("store: cannot open log/%s to read", name);
    return rc;
}

static uint64_t item_offset(const struct footer_item *it)
{
    return (uint64_t)it->offset_units * REC_ALIGN;
}

static uint64_t item_end(const struct footer_item *it)
{
    return item_offset(it) + rec_size(it->body_len);
}

static enum tg_err complain(const struct fetch *f, uint32_t i, const char *what)
{
    log_error("store: segment %08u, offset %llu: entry %llu:%llu is damaged (%s)", f->generation,
              (unsigned long long)item_offset(&f->items[i]), (unsigned long long)f->ledger,
              (unsigned long long)(f->first + i), what);
    return TG_ECORRUPT;
}

/* Keeps as many items as fit <max_bytes>, and makes sure that they are in the file, in order. */
static enum tg_err limit(struct fetch *f, uint64_t max_bytes)
{
    uint64_t bytes = 0, end = SEG_DATA_START;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct footer_item *it = &f->items[i];
        bytes += it->body_len;
        if (i && bytes > max_bytes) {
            f->count = i;
            break;
        }
        if (item_offset(it) < end || item_end(it) > f->size_bytes)
            return complain(f, i, "the footer has a wrong place for it");
        end = item_end(it);
    }
    return TG_OK;
}

/* ---- reading ---- */

/* The end of the stretch that is read in one go from item <i> on; *next: the first item behind. */
static uint64_t extent(const struct fetch *f, uint32_t i, uint32_t *next)
{
    uint64_t end = item_end(&f->items[i]);
    for (i++; i < f->count && item_offset(&f->items[i]) - end <= GAP_BYTES; i++)
        end = item_end(&f->items[i]);
    *next = i;
    return end;
}

static uint64_t extents_bytes(const struct fetch *f)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0, next; i < f->count; i = next) {
        uint64_t start = item_offset(&f->items[i]);
        bytes += extent(f, i, &next) - start;
    }
    return bytes;
}

static bool entry_good(const struct fetch *f, uint32_t i, const struct record *r)
{
    return rec_header_ok(r, f->generation, item_offset(&f->items[i])) && rec_is_entry(r) &&
           r->ledger == f->ledger && r->entry == f->first + i &&
           r->body_len == f->items[i].body_len && crc32c(0, r + 1, r->body_len) == r->body_crc;
}

/* Reads one stretch to <to> and appends its entries to <out>; a bad one ends the read before it. */
static enum tg_err read_extent(struct log_store *log, const struct fetch *f, int fd, uint32_t i,
                               uint8_t *to, struct fetched *out)
{
    uint32_t next;
    uint64_t start = item_offset(&f->items[i]);
    uint64_t end = extent(f, i, &next);
    if (disk_read(log->faults, fd, to, end - start, start))
        return TG_EIO;
    for (; i < next; i++) {
        const struct record *r =
            (const struct record *)(void *)(to + (item_offset(&f->items[i]) - start));
        if (!entry_good(f, i, r))
            return complain(f, i, "checksum");
        out->entries[out->count++] = (struct ls_entry){
            .entry = r->entry,
            .body = (const uint8_t *)(r + 1),
            .len = r->body_len,
            .crc = r->body_crc,
            .messages = r->messages,
            .admitted_ns = r->admitted_ns,
        };
    }
    return TG_OK;
}

enum tg_err fetch_read(struct log_store *log, struct fetch *f, int fd, uint64_t max_bytes,
                       struct fetched *out)
{
    *out = (struct fetched){.count = 0};
    if (f->items_offset &&
        disk_read(log->faults, fd, f->items, f->count * sizeof *f->items, f->items_offset))
        return TG_EIO;
    enum tg_err e = limit(f, max_bytes);
    if (e)
        return e;
    uint64_t entries_bytes = f->count * sizeof(struct ls_entry);
    out->buffer_bytes = entries_bytes + extents_bytes(f);
    out->buffer = xmalloc(out->buffer_bytes);
    out->entries = out->buffer;
    uint8_t *to = (uint8_t *)out->buffer + entries_bytes;
    for (uint32_t i = 0, next; i < f->count && !e; i = next) {
        uint64_t n = extent(f, i, &next) - item_offset(&f->items[i]);
        e = read_extent(log, f, fd, i, to, out);
        to += n;
    }
    return e;
}

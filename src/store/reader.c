/* The readers: threads that fetch entries from disk for all ports. The registry says where they
 * lie - only what is durable is in it - and the segment is pinned, so that it keeps its name and
 * bytes. Whatever was read is believed only when record header, ledger, entry and body checksum are
 * right, so a footer's items need no check of their own. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/engine.h"

/* One read brings at most so many; its caller comes back for more. */
#define READ_ENTRIES_MOST 1024
/* Other ledgers' records between two of ours are read along when they are less than this. */
#define READ_GAP_BYTES 4096

struct plan { /* where the entries of one read lie */
    struct segment *seg;
    uint32_t generation;
    uint64_t size_bytes;
    uint64_t ledger, first;
    uint32_t count;
    struct footer_item *items;
    uint64_t items_offset; /* where to fetch them from; 0: they are here already */
};

/* ---- the plan ---- */

/* False: nothing there. Pins the segment. */
static bool locate(struct log_store *log, const struct read_job *j, struct plan *pl)
{
    pthread_mutex_lock(&log->reg_lock);
    struct ledger *l = registry_ledger(&log->reg, j->ledger);
    uint32_t i = l ? ledger_find_run(l, j->first) : 0;
    if (!l || i == l->run_count) {
        pthread_mutex_unlock(&log->reg_lock);
        return false;
    }
    const struct run *run = &l->runs[i];
    uint32_t skip = j->first > run->first ? (uint32_t)(j->first - run->first) : 0;
    uint32_t most = j->max_entries < READ_ENTRIES_MOST ? j->max_entries : READ_ENTRIES_MOST;
    uint32_t n = run->count - skip < most ? run->count - skip : most;
    *pl = (struct plan){
        .seg = run->seg,
        .generation = run->seg->generation,
        .size_bytes = run->seg->size_bytes,
        .ledger = j->ledger,
        .first = run->first + skip,
        .count = n,
        .items = xmalloc(n * sizeof *pl->items),
    };
    if (run->items)
        memcpy(pl->items, run->items + skip, n * sizeof *pl->items);
    else
        pl->items_offset = run->items_offset + skip * sizeof *pl->items;
    run->seg->pins++;
    pthread_mutex_unlock(&log->reg_lock);
    return true;
}

static void unpin(struct log_store *log, struct segment *s)
{
    pthread_mutex_lock(&log->reg_lock);
    bool needless = --s->pins == 0 && s->sealed && s->live_runs == 0;
    pthread_mutex_unlock(&log->reg_lock);
    if (!needless)
        return;
    pthread_mutex_lock(&log->lock);
    log->recheck = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
}

static uint64_t item_offset(const struct footer_item *it)
{
    return (uint64_t)it->offset_units * REC_ALIGN;
}

static enum tg_err complain(const struct plan *pl, uint32_t i, const char *what)
{
    log_error("store: segment %08u, offset %llu: entry %llu:%llu is damaged (%s)", pl->generation,
              (unsigned long long)item_offset(&pl->items[i]), (unsigned long long)pl->ledger,
              (unsigned long long)(pl->first + i), what);
    return TG_ECORRUPT;
}

/* Keeps as many items as fit <max_bytes>, and makes sure that they are in the file, in order. */
static enum tg_err limit_plan(struct plan *pl, uint64_t max_bytes)
{
    uint64_t bytes = 0, end = SEG_DATA_START;
    for (uint32_t i = 0; i < pl->count; i++) {
        const struct footer_item *it = &pl->items[i];
        bytes += it->body_len;
        if (i && bytes > max_bytes) {
            pl->count = i;
            break;
        }
        if (item_offset(it) < end || item_offset(it) + rec_size(it->body_len) > pl->size_bytes)
            return complain(pl, i, "the footer has a wrong place for it");
        end = item_offset(it) + rec_size(it->body_len);
    }
    return TG_OK;
}

/* ---- reading ---- */

/* The end of the stretch that is read in one go from item <i> on; *next: the first item behind. */
static uint64_t extent(const struct plan *pl, uint32_t i, uint32_t *next)
{
    uint64_t end = item_offset(&pl->items[i]) + rec_size(pl->items[i].body_len);
    for (i++; i < pl->count && item_offset(&pl->items[i]) - end <= READ_GAP_BYTES; i++)
        end = item_offset(&pl->items[i]) + rec_size(pl->items[i].body_len);
    *next = i;
    return end;
}

static uint64_t extents_bytes(const struct plan *pl)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0, next; i < pl->count; i = next) {
        uint64_t start = item_offset(&pl->items[i]);
        bytes += extent(pl, i, &next) - start;
    }
    return bytes;
}

static bool entry_good(const struct plan *pl, uint32_t i, const struct record *r)
{
    return rec_header_ok(r, pl->generation, item_offset(&pl->items[i])) && r->type == REC_ENTRY &&
           r->ledger == pl->ledger && r->entry == pl->first + i &&
           r->body_len == pl->items[i].body_len && crc32c(0, r + 1, r->body_len) == r->body_crc;
}

/* Reads one stretch to <to> and appends its entries to <j>; a bad one ends the read before it. */
static enum tg_err read_extent(struct log_store *log, const struct plan *pl, int fd, uint32_t i,
                               uint8_t *to, struct read_job *j)
{
    uint32_t next;
    uint64_t start = item_offset(&pl->items[i]);
    uint64_t end = extent(pl, i, &next);
    if (disk_read(log->faults, fd, to, end - start, start))
        return TG_EIO;
    for (; i < next; i++) {
        const struct record *r =
            (const struct record *)(void *)(to + (item_offset(&pl->items[i]) - start));
        if (!entry_good(pl, i, r))
            return complain(pl, i, "checksum");
        j->hold->entries[j->count++] = (struct ls_entry){
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

static enum tg_err read_entries(struct log_store *log, const struct plan *pl, int fd,
                                struct read_job *j)
{
    uint64_t entries_bytes = pl->count * sizeof(struct ls_entry);
    uint64_t total = entries_bytes + extents_bytes(pl);
    struct ls_hold *h = xcalloc(1, sizeof *h);
    h->buffer = xmalloc(total);
    h->entries = h->buffer;
    h->charged_bytes = (int64_t)total;
    budget_force(log->budget, BUDGET_CACHE, h->charged_bytes);
    j->hold = h;
    uint8_t *to = (uint8_t *)h->buffer + entries_bytes;
    enum tg_err e = TG_OK;
    for (uint32_t i = 0, next; i < pl->count && !e; i = next) {
        uint64_t n = extent(pl, i, &next) - item_offset(&pl->items[i]);
        e = read_extent(log, pl, fd, i, to, j);
        to += n;
    }
    return e;
}

static enum tg_err read_plan(struct log_store *log, struct plan *pl, struct read_job *j)
{
    char name[SEG_NAME_BYTES];
    segment_name(name, pl->generation);
    int fd;
    if (disk_open(log->faults, log->log_fd, name, O_RDONLY, &fd)) {
        log_error("store: cannot open log/%s to read", name);
        return TG_EIO;
    }
    enum tg_err e = TG_OK;
    if (pl->items_offset &&
        disk_read(log->faults, fd, pl->items, pl->count * sizeof *pl->items, pl->items_offset))
        e = TG_EIO;
    if (!e)
        e = limit_plan(pl, j->max_bytes);
    if (!e)
        e = read_entries(log, pl, fd, j);
    close(fd);
    return e;
}

static void run_job(struct log_store *log, struct read_job *j)
{
    struct plan pl;
    if (!j->max_entries || !locate(log, j, &pl))
        return;
    j->err = read_plan(log, &pl, j);
    unpin(log, pl.seg);
    free(pl.items);
    if (j->count)
        j->err = TG_OK; /* the good ones first; the next read begins at the bad one */
}

/* ---- the threads ---- */

static void hand_back(struct read_job *j)
{
    struct log_port *p = j->port;
    pthread_mutex_lock(&p->done_lock);
    j->next = NULL;
    *p->reads_tail = j;
    p->reads_tail = &j->next;
    p->reads_back++;
    port_unlock_and_wake(p);
}

void *reader_main(void *store)
{
    struct log_store *log = store;
    struct read_queue *q = &log->reads;
    pthread_mutex_lock(&q->lock);
    struct log_port **mine = &q->active[q->started++];
    for (;;) {
        while (!q->head && !q->stop)
            pthread_cond_wait(&q->work, &q->lock);
        if (!q->head)
            break;
        struct read_job *j = q->head;
        q->head = j->next;
        if (!q->head)
            q->tail = &q->head;
        *mine = j->port;
        pthread_mutex_unlock(&q->lock);
        run_job(log, j);
        hand_back(j);
        pthread_mutex_lock(&q->lock);
        *mine = NULL;
        pthread_cond_broadcast(&q->idle);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

void reader_submit(struct log_store *log, struct read_job *j)
{
    struct read_queue *q = &log->reads;
    pthread_mutex_lock(&q->lock);
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

static bool works_for(const struct read_queue *q, const struct log_port *p)
{
    for (uint32_t i = 0; i < READER_THREADS; i++)
        if (q->active[i] == p)
            return true;
    return false;
}

void reader_cancel(struct log_store *log, struct log_port *p)
{
    struct read_queue *q = &log->reads;
    pthread_mutex_lock(&q->lock);
    struct read_job **at = &q->head;
    while (*at) {
        struct read_job *j = *at;
        if (j->port != p) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        free(j);
    }
    q->tail = at;
    while (works_for(q, p))
        pthread_cond_wait(&q->idle, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

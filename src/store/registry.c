/* The registry. Two counts per segment follow every change here, and nowhere else: live_runs (0 and
 * sealed: recyclable) and live_bytes. The open segment's runs are never counted dead, because they
 * may still grow; that is made up for when it is sealed.
 *
 * The runs of a ledger are ascending and disjoint, though its entries may lie in segments in any
 * order, and twice: what comes later (a copy) takes its entries out of the runs that had them. */
#include "store/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* A segment less than a quarter live is copied forward, so the log is at most four times as large
 * as what is needed in it. But not when it is small because of what is in it besides entries (the
 * footer's table of all ledgers): the copy would be no larger part of its segment. */
#define SPARSE_SIZE 4
#define SPARSE_DATA 2

void registry_init(struct registry *r)
{
    memset(r, 0, sizeof *r);
    r->segments_tail = &r->segments;
}

static void ledger_free(const struct registry *r, struct ledger *l)
{
    for (uint32_t i = 0; l->open_runs && i < l->run_count; i++)
        if (l->runs[i].seg == r->open)
            free(l->runs[i].items);
    free(l->runs);
    free(l);
}

void registry_fini(struct registry *r)
{
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));)
        ledger_free(r, l);
    idmap_fini(&r->ledgers);
    while (r->segments) {
        struct segment *next = r->segments->next;
        segment_free(r->segments);
        r->segments = next;
    }
}

struct ledger *registry_ledger(const struct registry *r, uint64_t id)
{
    return idmap_get(&r->ledgers, id);
}

static struct ledger *ledger_add(struct registry *r, uint64_t id, uint64_t last_entry)
{
    struct ledger *l = xcalloc(1, sizeof *l);
    l->id = id;
    l->last_entry = last_entry;
    idmap_put(&r->ledgers, id, l);
    return l;
}

void registry_restore(struct registry *r, const struct footer_ledger *from)
{
    if (registry_ledger(r, from->ledger))
        return;
    struct ledger *l = ledger_add(r, from->ledger, from->last_entry);
    l->trimmed_to = l->trim_logged = from->trimmed_to;
}

void registry_add_segment(struct registry *r, struct segment *s)
{
    s->next = NULL;
    *r->segments_tail = s;
    r->segments_tail = &s->next;
    r->segment_count++;
    r->look_empty = r->look_sparse = true; /* what was the newest sealed one until now */
    if (s->sealed)
        r->newest_sealed = s;
    else
        r->open = s;
}

/* ---- counts ---- */

static bool is_sparse(const struct segment *s)
{
    return s->live_bytes * SPARSE_SIZE < s->size_bytes &&
           s->live_bytes * SPARSE_DATA < s->end - SEG_DATA_START && !s->damaged;
}

/* Something of the sealed <s> is needed less than before. */
static void look_at(struct registry *r, const struct segment *s)
{
    if (s->live_runs == 0)
        r->look_empty = true;
    else if (is_sparse(s))
        r->look_sparse = true;
}

static void count_run(const struct run *run) /* of a sealed segment */
{
    run->seg->live_bytes += run->live_bytes;
    run->seg->live_runs += run->live_bytes != 0;
}

static void uncount_run(const struct run *run)
{
    run->seg->live_bytes -= run->live_bytes;
    run->seg->live_runs -= run->live_bytes != 0;
}

/* What of a run's bytes is needed: in proportion. */
static uint64_t live_part(const struct ledger *l, const struct run *run)
{
    if (l->trimmed_to <= run->first)
        return run->bytes;
    uint64_t gone = l->trimmed_to - run->first;
    if (gone >= run->count)
        return 0;
    return (uint64_t)((unsigned __int128)run->bytes * (run->count - gone) / run->count);
}

/* Brings the live counts in line with trimmed_to. */
static void account_trim(struct registry *r, struct ledger *l)
{
    for (uint32_t i = l->dead; i < l->run_count && l->runs[i].first < l->trimmed_to; i++) {
        struct run *run = &l->runs[i];
        if (run->seg != r->open && run->live_bytes) {
            uncount_run(run);
            run->live_bytes = live_part(l, run);
            count_run(run);
            look_at(r, run->seg);
        }
        if (i == l->dead && run->live_bytes == 0)
            l->dead++;
    }
}

/* ---- runs ---- */

static struct run *run_insert(struct ledger *l, uint32_t i)
{
    if (l->run_count == l->run_cap) {
        l->run_cap = l->run_cap ? l->run_cap * 2 : 1; /* most ledgers have one */
        l->runs = xrealloc(l->runs, l->run_cap * sizeof *l->runs);
    }
    memmove(&l->runs[i + 1], &l->runs[i], (l->run_count - i) * sizeof *l->runs);
    l->run_count++;
    if (l->dead > i)
        l->dead = i;
    return &l->runs[i];
}

static void run_remove(struct ledger *l, uint32_t i)
{
    l->run_count--;
    memmove(&l->runs[i], &l->runs[i + 1], (l->run_count - i) * sizeof *l->runs);
    if (l->dead > i)
        l->dead--;
}

/* A ledger's runs come one after the other. */
static void segment_note_ledger(struct segment *s, uint64_t id)
{
    if (s->ledger_count && s->ledgers[s->ledger_count - 1] == id)
        return;
    if (s->ledger_count == s->ledger_cap) {
        s->ledger_cap = s->ledger_cap ? s->ledger_cap * 2 : 16;
        s->ledgers = xrealloc(s->ledgers, s->ledger_cap * sizeof *s->ledgers);
    }
    s->ledgers[s->ledger_count++] = id;
}

/* The entry at <offset> of the open segment goes at index <i>: it begins a run there, or goes on
 * with the one before. */
static void run_take(struct registry *r, struct ledger *l, uint32_t i, const struct record *rec,
                     uint64_t offset)
{
    struct segment *s = r->open;
    struct run *run = i ? &l->runs[i - 1] : NULL;
    if (!run || run->seg != s || run->first + run->count != rec->entry) {
        run = run_insert(l, i);
        *run = (struct run){.seg = s, .first = rec->entry};
        s->live_runs++;
        if (l->open_runs++ == 0)
            segment_note_ledger(s, l->id);
    }
    if (run->count == run->cap) {
        run->cap = run->cap ? run->cap * 2 : 1;
        run->items = xrealloc(run->items, run->cap * sizeof *run->items);
    }
    run->items[run->count++] = (struct footer_item){
        .offset_units = (uint32_t)(offset / REC_ALIGN),
        .body_len = rec->body_len,
        .messages = rec->messages,
    };
    uint64_t bytes = rec_size(rec->body_len);
    run->bytes += bytes;
    run->live_bytes += bytes;
    s->live_bytes += bytes;
    s->items++;
}

/* <n> entries of a sealed run, from its <skip>th on. */
static struct run run_part(const struct ledger *l, const struct run *run, uint64_t skip, uint64_t n)
{
    struct run part = *run;
    part.first += skip;
    part.count = (uint32_t)n;
    part.items_offset += skip * sizeof(struct footer_item);
    part.bytes = run->bytes / run->count * n; /* more or less */
    part.live_bytes = live_part(l, &part);
    return part;
}

/* Takes the entries from <first> up to <end> out of the sealed run <i>, which has them all. */
static void run_cut(struct registry *r, struct ledger *l, uint32_t i, uint64_t first, uint64_t end)
{
    struct run whole = l->runs[i];
    uint64_t before = first - whole.first, after = whole.first + whole.count - end;
    struct run left = run_part(l, &whole, 0, before);
    struct run right = run_part(l, &whole, whole.count - after, after);
    uncount_run(&whole);
    run_remove(l, i);
    if (after) {
        *run_insert(l, i) = right;
        count_run(&right);
    }
    if (before) {
        *run_insert(l, i) = left;
        count_run(&left);
    }
    look_at(r, whole.seg);
}

enum tg_err registry_entry(struct registry *r, const struct record *rec, uint64_t offset)
{
    struct ledger *l = registry_ledger(r, rec->ledger);
    if (rec->entry == UINT64_MAX || (l && rec->entry != l->last_entry + 1))
        return TG_ECORRUPT;
    if (!l)
        l = ledger_add(r, rec->ledger, rec->entry);
    l->last_entry = rec->entry;
    run_take(r, l, l->run_count, rec, offset);
    return TG_OK;
}

enum tg_err registry_copy(struct registry *r, const struct record *rec, uint64_t offset)
{
    struct ledger *l = registry_ledger(r, rec->ledger);
    if (!l)
        return TG_OK;
    if (rec->entry > l->last_entry)
        return TG_ECORRUPT;
    uint32_t i = ledger_find_run(l, rec->entry);
    if (i < l->run_count && l->runs[i].first <= rec->entry) {
        if (l->runs[i].seg == r->open)
            return TG_OK;
        run_cut(r, l, i, rec->entry, rec->entry + 1);
        i = ledger_find_run(l, rec->entry);
    }
    run_take(r, l, i, rec, offset);
    return TG_OK;
}

enum tg_err registry_sealed_run(struct registry *r, struct segment *s,
                                const struct footer_run *from, uint64_t items_offset)
{
    struct ledger *l = registry_ledger(r, from->ledger);
    if (!l)
        return TG_OK; /* dropped since */
    uint64_t end = from->first + from->count;
    if (end - 1 > l->last_entry)
        return TG_ECORRUPT;
    uint32_t i;
    while ((i = ledger_find_run(l, from->first)) < l->run_count && l->runs[i].first < end) {
        const struct run *old = &l->runs[i];
        uint64_t old_end = old->first + old->count;
        if (old->seg == s)
            return TG_ECORRUPT;
        run_cut(r, l, i, old->first > from->first ? old->first : from->first,
                old_end < end ? old_end : end);
    }
    struct run *run = run_insert(l, i);
    *run = (struct run){.seg = s,
                        .first = from->first,
                        .bytes = from->bytes,
                        .items_offset = items_offset,
                        .count = from->count};
    run->live_bytes = live_part(l, run);
    count_run(run);
    segment_note_ledger(s, l->id);
    return TG_OK;
}

void registry_trim(struct registry *r, uint64_t ledger, uint64_t first_needed)
{
    struct ledger *l = registry_ledger(r, ledger);
    if (!l)
        return;
    if (first_needed > l->last_entry + 1)
        first_needed = l->last_entry + 1;
    if (first_needed <= l->trimmed_to)
        return;
    l->trimmed_to = first_needed;
    account_trim(r, l);
}

void registry_drop(struct registry *r, uint64_t ledger)
{
    struct ledger *l = idmap_take(&r->ledgers, ledger);
    if (!l)
        return;
    for (uint32_t i = 0; i < l->run_count; i++) {
        const struct run *run = &l->runs[i];
        uncount_run(run);
        if (run->seg == r->open)
            r->open->items -= run->count;
        else
            look_at(r, run->seg);
    }
    ledger_free(r, l);
}

enum tg_err registry_apply(struct registry *r, const struct record *rec, uint64_t offset)
{
    struct ledger *l;
    switch (rec->type) {
    case REC_ENTRY:
        return registry_entry(r, rec, offset);
    case REC_COPY:
        return registry_copy(r, rec, offset);
    case REC_DROP:
        registry_drop(r, rec->ledger);
        return TG_OK;
    case REC_TRIM:
        registry_trim(r, rec->ledger, rec->entry);
        l = registry_ledger(r, rec->ledger);
        if (l)
            l->trim_logged = l->trimmed_to;
        return TG_OK;
    default:
        return TG_OK;
    }
}

/* ---- sealing ---- */

uint64_t registry_footer_bound(const struct registry *r, uint64_t more)
{
    uint64_t runs = r->open->live_runs + more;
    uint64_t ledgers = r->ledgers.count + more;
    uint64_t body = sizeof(struct footer_head) + runs * sizeof(struct footer_run) +
                    ledgers * sizeof(struct footer_ledger) +
                    (r->open->items + more) * sizeof(struct footer_item);
    return rec_size(body) + sizeof(struct seg_trailer);
}

struct footer_out {
    struct footer_run *runs;
    struct footer_item *items;
    uint64_t item;
};

static void footer_add_runs(struct footer_out *out, const struct ledger *l,
                            const struct segment *open)
{
    for (uint32_t i = 0; i < l->run_count; i++) {
        const struct run *run = &l->runs[i];
        if (run->seg != open)
            continue;
        *out->runs++ = (struct footer_run){
            .ledger = l->id,
            .first = run->first,
            .first_item = out->item,
            .bytes = run->bytes,
            .count = run->count,
        };
        memcpy(out->items + out->item, run->items, run->count * sizeof *run->items);
        out->item += run->count;
    }
}

uint8_t *registry_footer(const struct registry *r, uint64_t *body_len, uint64_t *head_len)
{
    const struct segment *s = r->open;
    struct footer_head head = {
        .runs = s->live_runs, .ledgers = r->ledgers.count, .items = s->items};
    uint64_t runs_at = sizeof head;
    uint64_t ledgers_at = runs_at + head.runs * sizeof(struct footer_run);
    *head_len = ledgers_at + head.ledgers * sizeof(struct footer_ledger);
    *body_len = *head_len + head.items * sizeof(struct footer_item);
    uint8_t *body = xmalloc(*body_len);
    memcpy(body, &head, sizeof head);
    struct footer_out out = {
        .runs = (struct footer_run *)(void *)(body + runs_at),
        .items = (struct footer_item *)(void *)(body + *head_len),
    };
    for (uint32_t i = 0; i < s->ledger_count; i++) {
        const struct ledger *l = registry_ledger(r, s->ledgers[i]);
        if (l) /* else dropped */
            footer_add_runs(&out, l, s);
    }
    TG_ASSERT(out.item == head.items && (uint8_t *)out.runs == body + ledgers_at);
    struct footer_ledger *to = (struct footer_ledger *)(void *)(body + ledgers_at);
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));)
        *to++ = (struct footer_ledger){l->id, l->last_entry, l->trimmed_to};
    return body;
}

void registry_sealed(struct registry *r, uint64_t footer_offset)
{
    struct segment *s = r->open;
    uint64_t items_at = footer_offset + sizeof(struct record) + sizeof(struct footer_head) +
                        s->live_runs * sizeof(struct footer_run) +
                        r->ledgers.count * sizeof(struct footer_ledger);
    s->sealed = true;
    r->newest_sealed = s;
    r->open = NULL;
    for (uint32_t i = 0; i < s->ledger_count; i++) { /* as registry_footer wrote them */
        struct ledger *l = registry_ledger(r, s->ledgers[i]);
        for (uint32_t j = 0; l && j < l->run_count; j++) {
            struct run *run = &l->runs[j];
            if (run->seg != s)
                continue;
            free(run->items);
            run->items_offset = items_at;
            items_at += run->count * sizeof(struct footer_item);
        }
        if (!l)
            continue;
        l->open_runs = 0;
        account_trim(r, l);
    }
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&r->ledgers, &at));)
        l->trim_logged = l->trimmed_to; /* the footer's table says it */
}

/* ---- segments that go ---- */

struct segment *registry_recyclable(struct registry *r, const struct segment *from)
{
    if (!from && !r->look_empty)
        return NULL;
    for (struct segment *s = from ? from->next : r->segments; s; s = s->next)
        if (s->sealed && s->live_runs == 0 && s->pins == 0 && s != r->newest_sealed)
            return s;
    if (!from)
        r->look_empty = false;
    return NULL;
}

static void ledger_forget_segment(struct ledger *l, const struct segment *s)
{
    for (uint32_t i = l->run_count; i-- > 0;)
        if (l->runs[i].seg == s)
            run_remove(l, i);
}

void registry_remove_segment(struct registry *r, struct segment *s)
{
    for (uint32_t i = 0; i < s->ledger_count; i++) {
        struct ledger *l = registry_ledger(r, s->ledgers[i]);
        if (l)
            ledger_forget_segment(l, s);
    }
    struct segment **at = &r->segments;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (!s->next)
        r->segments_tail = at;
    r->segment_count--;
}

struct segment *registry_sparse(struct registry *r)
{
    struct segment *best = NULL;
    for (struct segment *s = r->segments; s && r->look_sparse; s = s->next) {
        if (!s->sealed || s == r->newest_sealed || s->live_runs == 0 || !is_sparse(s))
            continue;
        if (!best || s->live_bytes * best->size_bytes < best->live_bytes * s->size_bytes)
            best = s;
    }
    r->look_sparse = best != NULL;
    return best;
}

const struct run *registry_next_live(const struct registry *r, const struct segment *s,
                                     struct live_place *p, struct ledger **l)
{
    for (; p->at < s->ledger_count; p->at++, p->entry = 0) {
        *l = registry_ledger(r, s->ledgers[p->at]);
        if (!*l)
            continue;
        if (p->entry < (*l)->trimmed_to)
            p->entry = (*l)->trimmed_to;
        for (uint32_t i = ledger_find_run(*l, p->entry); i < (*l)->run_count; i++)
            if ((*l)->runs[i].seg == s)
                return &(*l)->runs[i];
    }
    return NULL;
}

uint32_t ledger_find_run(const struct ledger *l, uint64_t first)
{
    uint32_t lo = 0, hi = l->run_count; /* the first run that ends after <first> */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (l->runs[mid].first + l->runs[mid].count <= first)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

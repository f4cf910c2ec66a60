/* power_work.h - what a store does before its power is cut: several ports, each on a thread of its
 * own, append to their ledgers, trim, drop and read them. Everything asked and everything
 * acknowledged is noted in the trace. An entry's length and bytes follow from its name. */
#ifndef TESTS_POWER_WORK_H
#define TESTS_POWER_WORK_H

#include "power_trace.h"

#define PW_PORTS   4
#define PW_LEDGERS 512 /* ids; few exist at a time */
#define PW_SEGMENT (64 << 10)

enum { PW_APPEND, PW_ACK, PW_TRIM, PW_DROP, PW_FOUND }; /* kinds of notes */

struct pw_ledger {
    uint64_t appended; /* entries handed to the store */
    uint64_t acked;    /* of them, acknowledged */
    uint64_t trimmed;  /* those before it may be gone */
    bool dropped;      /* it may be gone as a whole */
};

struct pw_model {
    struct pw_ledger ledgers[PW_LEDGERS];
};

#define PW_CHECK(condition, ...)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: " #condition ": ", __FILE__, __LINE__);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- entries ---- */

static inline uint32_t pw_len(uint64_t ledger, uint64_t entry)
{
    uint64_t x = ledger * 1000003 + entry, r = pt_random(&x);
    if (r % 2000 == 0)
        return 100 << 10; /* more than a segment */
    return r / 4096 % 8 == 0 ? 0 : (uint32_t)(r / 65536 % 900);
}

static inline bool pw_good(const struct ls_entry *e, uint64_t ledger)
{
    uint32_t len = pw_len(ledger, e->entry);
    uint8_t *want = xmalloc(len + 1);
    fx_body(want, len, ledger, e->entry);
    bool good = e->len == len && memcmp(e->body, want, len) == 0 &&
                e->crc == crc32c(0, want, len) && e->messages == e->entry % 7 + 1 &&
                e->admitted_ns == (int64_t)e->entry * 10 + 5;
    free(want);
    return good;
}

/* ---- a port and its thread ---- */

struct pw_port {
    struct ledger_store *store;
    struct pt *trace;
    struct pw_model *model; /* its own ledgers' part */
    struct pt_life *life;
    uint64_t rng;
    int number, steps;
    bool killed;
    struct ls_port *port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken, read_done;
    uint64_t waiting, read_ledger;
};

static inline void pw_wake(void *ctx)
{
    struct pw_port *p = ctx;
    pthread_mutex_lock(&p->lock);
    p->woken = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

static inline void pw_on_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry,
                                enum tg_err e)
{
    struct pw_port *p = port_ctx;
    struct pw_ledger *l = &p->model->ledgers[ledger];
    PW_CHECK(e == TG_OK && !ctx, "error %d", e);
    PW_CHECK(entry == l->acked, "%llu:%llu after %llu", (unsigned long long)ledger,
             (unsigned long long)entry, (unsigned long long)l->acked);
    pt_note(p->trace, PW_ACK, ledger, entry);
    l->acked++;
    p->waiting--;
}

static inline bool pw_killed(struct pw_port *p)
{
    pthread_mutex_lock(&p->trace->lock);
    p->killed = p->life->until == 0;
    pthread_mutex_unlock(&p->trace->lock);
    return p->killed;
}

static inline void pw_on_state(void *port_ctx, enum ls_state state, const char *why)
{
    struct pw_port *p = port_ctx;
    PW_CHECK(pw_killed(p) && state == LS_FAILED, "%s", why ? why : "");
}

static inline void pw_turn(struct pw_port *p) /* waits for a wake-up and polls */
{
    pthread_mutex_lock(&p->lock);
    while (!p->woken)
        pthread_cond_wait(&p->cond, &p->lock);
    p->woken = false;
    pthread_mutex_unlock(&p->lock);
    ls_port_poll(p->port);
}

static inline void pw_append(struct pw_port *p, uint64_t ledger)
{
    struct pw_ledger *l = &p->model->ledgers[ledger];
    uint64_t entry = l->appended++;
    uint32_t len = pw_len(ledger, entry);
    uint8_t *body = xmalloc(len + 1);
    fx_body(body, len, ledger, entry);
    struct ls_body b = {.part = {body}, .len = {len}, .crc = crc32c(0, body, len)};
    pt_note(p->trace, PW_APPEND, ledger, entry);
    enum tg_err e = ls_append(p->port, ledger, entry, &b, (uint32_t)(entry % 7 + 1),
                              (int64_t)entry * 10 + 5, NULL);
    PW_CHECK(e == TG_OK, "append: %s", err_text(e));
    p->waiting++;
    free(body);
}

static inline void pw_trim(struct pw_port *p, uint64_t ledger, uint64_t to)
{
    struct pw_ledger *l = &p->model->ledgers[ledger];
    if (to <= l->trimmed)
        return;
    l->trimmed = to;
    pt_note(p->trace, PW_TRIM, ledger, to);
    ls_trim(p->port, ledger, to);
}

static inline void pw_on_read(void *ctx, enum tg_err e, const struct ls_entry *entries,
                              uint32_t count, struct ls_hold *hold)
{
    struct pw_port *p = ctx;
    PW_CHECK(e == TG_OK || (e == TG_EIO && pw_killed(p)), "read of %llu: %s",
             (unsigned long long)p->read_ledger, err_text(e));
    for (uint32_t i = 0; i < count; i++)
        PW_CHECK(pw_good(&entries[i], p->read_ledger), "entry %llu:%llu is not what was appended",
                 (unsigned long long)p->read_ledger, (unsigned long long)entries[i].entry);
    ls_entries_release(p->port, hold);
    p->read_done = true;
}

static inline void pw_read(struct pw_port *p, uint64_t ledger)
{
    struct pw_ledger *l = &p->model->ledgers[ledger];
    uint64_t from = l->acked ? pt_random(&p->rng) % l->acked : 0;
    p->read_ledger = ledger;
    p->read_done = false;
    ls_read(p->port, ledger, from, 1 + (uint32_t)(pt_random(&p->rng) % 50), 1 << 18, pw_on_read, p);
    while (!p->read_done)
        pw_turn(p);
}

/* Four ledgers a port: those with the highest ids that are its own. */
static inline uint64_t pw_choose(struct pw_port *p)
{
    uint64_t nth = pt_random(&p->rng) % 4;
    for (uint64_t l = PW_LEDGERS; l-- > 0;)
        if (l % PW_PORTS == (uint64_t)p->number && p->model->ledgers[l].appended &&
            !p->model->ledgers[l].dropped && nth-- == 0)
            return l;
    for (uint64_t l = p->number; l < PW_LEDGERS; l += PW_PORTS) /* a new one */
        if (!p->model->ledgers[l].appended && !p->model->ledgers[l].dropped)
            return l;
    PW_CHECK(false, "no ledgers left");
    return 0;
}

static inline void pw_trim_all(struct pw_port *p)
{
    for (uint64_t l = p->number; l < PW_LEDGERS; l += PW_PORTS) {
        struct pw_ledger *m = &p->model->ledgers[l];
        uint64_t keep = pt_random(&p->rng) % 4;
        if (m->appended && !m->dropped)
            pw_trim(p, l, m->acked > keep ? m->acked - keep : 0);
    }
}

static inline void pw_step(struct pw_port *p)
{
    uint64_t r = pt_random(&p->rng), ledger = pw_choose(p);
    struct pw_ledger *l = &p->model->ledgers[ledger];
    switch (r % 32) {
    case 0:
        pw_trim_all(p);
        break;
    case 1:
        if (l->acked)
            pw_trim(p, ledger, r / 32 % (l->acked + 1));
        break;
    case 2:
        if (r / 32 % 8 == 0 && l->appended && l->appended == l->acked) {
            l->dropped = true;
            pt_note(p->trace, PW_DROP, ledger, 0);
            ls_drop(p->port, ledger);
        }
        break;
    case 3:
        pw_read(p, ledger);
        break;
    default:
        for (uint64_t i = 0; i < 1 + r / 32 % 6; i++)
            pw_append(p, ledger);
        break;
    }
    ls_port_submit(p->port);
    while (!p->killed && p->waiting > r / 1024 % 40)
        pw_turn(p);
    ls_port_poll(p->port);
}

static inline void *pw_main(void *ctx)
{
    struct pw_port *p = ctx;
    static const struct ls_port_ops ops = {pw_on_append, pw_on_state, pw_wake};
    p->port = ls_port_open(p->store, &ops, p);
    for (int i = 0; i < p->steps && !p->killed; i++)
        pw_step(p);
    while (p->waiting && !p->killed)
        pw_turn(p);
    ls_port_close(p->port);
    return NULL;
}

/* Runs <steps> steps on every port; the model is what is there before and after. */
static inline void pw_run(struct ledger_store *store, struct pt_life *life, struct pw_model *m,
                          uint64_t seed, int steps)
{
    static struct pw_port ports[PW_PORTS];
    memset(ports, 0, sizeof ports);
    for (int i = 0; i < PW_PORTS; i++) {
        struct pw_port *p = &ports[i];
        *p = (struct pw_port){.store = store, .model = m, .number = i};
        p->life = life;
        p->trace = life->trace;
        p->rng = seed * PW_PORTS + (uint64_t)i;
        p->steps = steps;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->cond, NULL);
        PW_CHECK(pthread_create(&p->thread, NULL, pw_main, p) == 0, "no thread");
    }
    for (int i = 0; i < PW_PORTS; i++) {
        pthread_join(ports[i].thread, NULL);
        pthread_mutex_destroy(&ports[i].lock);
        pthread_cond_destroy(&ports[i].cond);
    }
}

/* ---- what must be there ---- */

/* A start found <count> entries. Of a ledger that may be gone: none means that it is, for ever. */
static inline void pw_found(struct pw_ledger *l, uint64_t count)
{
    l->dropped = l->dropped && count == 0;
    l->appended = l->acked = count;
    if (l->trimmed > count)
        l->trimmed = count;
}

/* What was asked and acknowledged before event <cut>, on top of <m>. */
static inline void pw_expect(const struct pt *t, uint32_t cut, struct pw_model *m)
{
    for (uint32_t i = 0; i < cut; i++) {
        const struct pt_event *e = &t->events[i];
        if (e->type != PT_NOTE)
            continue;
        struct pw_ledger *l = &m->ledgers[e->ledger];
        if (e->kind == PW_APPEND)
            l->appended = e->entry + 1;
        else if (e->kind == PW_ACK)
            l->acked = e->entry + 1;
        else if (e->kind == PW_TRIM)
            l->trimmed = e->entry;
        else if (e->kind == PW_DROP)
            l->dropped = true;
        else
            pw_found(l, e->entry);
    }
}

#endif

/* The readers: threads that fetch entries from disk for all ports, one read after another. */
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/engine.h"
#include "store/fetch.h"

/* One read brings at most so many; its caller comes back for more. */
#define READ_ENTRIES_MOST 1024

/* False: nothing there. */
static bool locate(struct log_store *log, const struct read_job *j, struct fetch *f)
{
    uint32_t most = j->max_entries < READ_ENTRIES_MOST ? j->max_entries : READ_ENTRIES_MOST;
    pthread_mutex_lock(&log->reg_lock);
    const struct ledger *l = registry_ledger(&log->reg, j->ledger);
    uint32_t i = l ? ledger_find_run(l, j->first) : 0;
    bool there = l && i < l->run_count && most;
    if (there)
        fetch_plan(l, &l->runs[i], j->first, most, f);
    pthread_mutex_unlock(&log->reg_lock);
    return there;
}

static enum tg_err read_into(struct log_store *log, struct fetch *f, struct read_job *j)
{
    int fd;
    if (fetch_open(log, f, &fd))
        return TG_EIO;
    struct fetched got;
    enum tg_err e = fetch_read(log, f, fd, j->max_bytes, &got);
    close(fd);
    if (!got.buffer)
        return e;
    struct ls_hold *h = xcalloc(1, sizeof *h);
    h->buffer = got.buffer;
    h->entries = got.entries;
    h->charged_bytes = (int64_t)got.buffer_bytes;
    budget_force(log->budget, BUDGET_CACHE, h->charged_bytes);
    j->hold = h;
    j->count = got.count;
    return got.count ? TG_OK : e; /* the good ones first; the next read begins at the bad one */
}

static void run_job(struct log_store *log, struct read_job *j)
{
    struct fetch f;
    if (!locate(log, j, &f))
        return;
    j->err = read_into(log, &f, j);
    fetch_fini(log, &f);
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

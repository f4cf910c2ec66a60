/* The metadata store on SQLite: one table of keys, values and versions, one thread that owns the
 * connection. Everything that waits when the thread turns to its queue becomes one transaction,
 * which is durable (WAL, synchronous=FULL) before anybody is told. If the transaction fails, every
 * operation in it failed, the reads too: they may have seen what was then rolled back.
 *
 * One lock covers the queue, the ports' results and the watches. wake is called with it held, so it
 * must not call into the store. */
#include "store/meta_store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/alloc.h"
#include "base/log.h"

#define META_FORMAT     1     /* PRAGMA user_version */
#define META_BUSY_MS    5000  /* an operator looks into the file: wait so long for their lock */
#define META_BATCH_MOST 10000 /* operations in one transaction: bounds how long the first waits */

enum op_kind { OP_GET, OP_PUT, OP_DELETE, OP_LIST, OP_WATCH, OP_EVENT };

struct op { /* a request, then its result; an event is only a result */
    struct op *next;
    struct ms_port *port;
    enum op_kind kind;
    char *key;
    char *value; /* request: to put; result: of a get or an event; NULL: none */
    size_t len;
    int64_t expected;
    ms_done done;
    ms_listed listed;
    ms_watched watched;
    void *ctx;
    enum tg_err err;
    int64_t version;
    struct ms_item *items;
    size_t item_count;
    bool changed; /* a put or delete that did something */
};

struct op_queue {
    struct op *head, **tail;
};

struct watch {
    struct watch *next;
    struct ms_port *port;
    char *prefix;
    ms_watched fn;
    void *ctx;
};

struct ms_port {
    struct meta_store *meta;
    void (*wake)(void *ctx);
    void *ctx;
    uint32_t outstanding; /* operations not yet carried out */
    struct op_queue results;
};

enum stmt { ST_BEGIN, ST_COMMIT, ST_GET, ST_PUT, ST_DELETE, ST_LIST, ST_COUNT };

struct meta_store {
    sqlite3 *db;
    sqlite3_stmt *stmt[ST_COUNT];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the thread */
    pthread_cond_t idle; /* operations were carried out: ports that close wait for theirs */
    struct op_queue queue;
    struct watch *watches;
    bool stop;
};

static const char *const sql[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN",
    [ST_COMMIT] = "COMMIT",
    [ST_GET] = "SELECT version, value FROM kv WHERE key = ?1",
    [ST_PUT] = ("INSERT INTO kv(key, value, version) VALUES(?1, ?2, ?3) ON CONFLICT(key) "
                "DO UPDATE SET value = excluded.value, version = excluded.version"),
    [ST_DELETE] = "DELETE FROM kv WHERE key = ?1",
    [ST_LIST] = "SELECT key, value, version FROM kv WHERE key >= ?1 ORDER BY key",
};

static void op_free(struct op *op)
{
    for (size_t i = 0; i < op->item_count; i++) {
        free((void *)(uintptr_t)op->items[i].key);
        free((void *)(uintptr_t)op->items[i].value);
    }
    free(op->items);
    free(op->key);
    free(op->value);
    free(op);
}

static void queue_init(struct op_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static void queue_push(struct op_queue *q, struct op *op)
{
    op->next = NULL;
    *q->tail = op;
    q->tail = &op->next;
}

static struct op *queue_pop(struct op_queue *q)
{
    struct op *op = q->head;
    if (!op)
        return NULL;
    q->head = op->next;
    if (!q->head)
        q->tail = &q->head;
    return op;
}

/* ---- carrying out, on the thread ---- */

static enum tg_err sqlite_err(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return TG_OK;
    case SQLITE_FULL:
        return TG_ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TG_ECORRUPT;
    default:
        return TG_EIO;
    }
}

/* Runs a statement that returns no rows. */
static enum tg_err run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return sqlite_err(rc);
}

static sqlite3_stmt *with_key(struct meta_store *m, enum stmt which, const char *key)
{
    sqlite3_stmt *st = m->stmt[which];
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    return st;
}

static char *column_copy(sqlite3_stmt *st, int column, size_t *len)
{
    const void *p = sqlite3_column_text(st, column);
    *len = (size_t)sqlite3_column_bytes(st, column);
    return xstrndup(p ? p : "", *len);
}

/* *version 0: not there. value may be NULL: not wanted. */
static enum tg_err look_up(struct meta_store *m, const char *key, int64_t *version, char **value,
                           size_t *len)
{
    sqlite3_stmt *st = with_key(m, ST_GET, key);
    int rc = sqlite3_step(st);
    *version = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    if (rc == SQLITE_ROW && value)
        *value = column_copy(st, 1, len);
    sqlite3_reset(st);
    return sqlite_err(rc);
}

static enum tg_err do_get(struct meta_store *m, struct op *op)
{
    enum tg_err e = look_up(m, op->key, &op->version, &op->value, &op->len);
    op->err = op->version ? TG_OK : TG_ENOENT;
    return e;
}

/* Leaves the version that is there in op->version, and TG_OK or TG_ECONFLICT in op->err. */
static enum tg_err compare(struct meta_store *m, struct op *op)
{
    enum tg_err e = look_up(m, op->key, &op->version, NULL, NULL);
    bool meets = op->expected == MS_ANY || op->expected == op->version;
    op->err = meets ? TG_OK : TG_ECONFLICT;
    return e;
}

static enum tg_err do_put(struct meta_store *m, struct op *op)
{
    enum tg_err e = compare(m, op);
    if (e || op->err)
        return e;
    op->version++;
    op->changed = true;
    sqlite3_stmt *st = with_key(m, ST_PUT, op->key);
    sqlite3_bind_text(st, 2, op->value, (int)op->len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, op->version);
    return run(st);
}

static enum tg_err do_delete(struct meta_store *m, struct op *op)
{
    enum tg_err e = compare(m, op);
    if (e || op->err || op->version == 0)
        return e;
    op->changed = true;
    return run(with_key(m, ST_DELETE, op->key));
}

static void add_item(struct op *op, size_t *cap, sqlite3_stmt *st)
{
    if (op->item_count == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        op->items = xrealloc(op->items, *cap * sizeof *op->items);
    }
    struct ms_item *it = &op->items[op->item_count++];
    size_t key_len;
    it->key = column_copy(st, 0, &key_len);
    it->value = column_copy(st, 1, &it->len);
    it->version = sqlite3_column_int64(st, 2);
}

static enum tg_err do_list(struct meta_store *m, struct op *op)
{
    sqlite3_stmt *st = with_key(m, ST_LIST, op->key);
    size_t prefix_len = strlen(op->key), cap = 0;
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        if (!key || strncmp(key, op->key, prefix_len) != 0)
            break; /* keys are sorted: the prefix is over */
        add_item(op, &cap, st);
    }
    sqlite3_reset(st);
    return sqlite_err(rc);
}

static enum tg_err do_op(struct meta_store *m, struct op *op)
{
    switch (op->kind) {
    case OP_GET:
        return do_get(m, op);
    case OP_PUT:
        return do_put(m, op);
    case OP_DELETE:
        return do_delete(m, op);
    case OP_LIST:
        return do_list(m, op);
    default:
        return TG_OK;
    }
}

/* All of <ops> in one transaction. */
static enum tg_err transact(struct meta_store *m, struct op *ops)
{
    enum tg_err e = run(m->stmt[ST_BEGIN]);
    for (struct op *op = ops; op && !e; op = op->next)
        e = do_op(m, op);
    if (!e)
        e = run(m->stmt[ST_COMMIT]);
    if (!e)
        return TG_OK;
    log_error("metadata: %s", sqlite3_errmsg(m->db));
    if (!sqlite3_get_autocommit(m->db))
        sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    return e;
}

/* ---- telling, on the thread, lock held ---- */

static void add_watch(struct meta_store *m, struct op *op)
{
    struct watch *w = xcalloc(1, sizeof *w);
    *w = (struct watch){
        .next = m->watches, .port = op->port, .prefix = op->key, .fn = op->watched, .ctx = op->ctx};
    op->key = NULL;
    m->watches = w;
}

static void tell(struct ms_port *p, struct op *op)
{
    queue_push(&p->results, op);
    p->wake(p->ctx);
}

static void tell_watchers(struct meta_store *m, const struct op *change)
{
    for (struct watch *w = m->watches; w; w = w->next) {
        if (strncmp(change->key, w->prefix, strlen(w->prefix)) != 0)
            continue;
        struct op *ev = xcalloc(1, sizeof *ev);
        ev->kind = OP_EVENT;
        ev->key = xstrdup(change->key);
        ev->value = change->kind == OP_PUT ? xstrndup(change->value, change->len) : NULL;
        ev->len = change->kind == OP_PUT ? change->len : 0;
        ev->version = change->version;
        ev->watched = w->fn;
        ev->ctx = w->ctx;
        tell(w->port, ev);
    }
}

static void finish(struct meta_store *m, struct op_queue *ops, enum tg_err e)
{
    for (struct op *op; (op = queue_pop(ops));) {
        struct ms_port *p = op->port;
        p->outstanding--;
        if (e)
            op->err = e;
        else if (op->changed)
            tell_watchers(m, op);
        if (!e && op->kind == OP_WATCH)
            add_watch(m, op);
        if (op->done || op->listed)
            tell(p, op);
        else
            op_free(op);
    }
    pthread_cond_broadcast(&m->idle);
}

static void take_batch(struct meta_store *m, struct op_queue *batch)
{
    queue_init(batch);
    for (uint32_t n = 0; n < META_BATCH_MOST && m->queue.head; n++)
        queue_push(batch, queue_pop(&m->queue));
}

static bool only_watches(const struct op *op)
{
    while (op && op->kind == OP_WATCH)
        op = op->next;
    return !op;
}

static void *meta_main(void *arg)
{
    struct meta_store *m = arg;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        while (!m->queue.head && !m->stop)
            pthread_cond_wait(&m->work, &m->lock);
        if (!m->queue.head)
            break;
        struct op_queue batch;
        take_batch(m, &batch);
        pthread_mutex_unlock(&m->lock);
        enum tg_err e = only_watches(batch.head) ? TG_OK : transact(m, batch.head);
        pthread_mutex_lock(&m->lock);
        finish(m, &batch, e);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS kv(key TEXT PRIMARY KEY, value TEXT NOT NULL, "
    "version INTEGER NOT NULL) WITHOUT ROWID";

static int set_up(struct meta_store *m, int *format)
{
    int rc = sqlite3_busy_timeout(m->db, META_BUSY_MS);
    if (!rc)
        rc = sqlite3_exec(m->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL,
                          NULL);
    sqlite3_stmt *st = NULL;
    if (!rc)
        rc = sqlite3_prepare_v2(m->db, "PRAGMA user_version", -1, &st, NULL);
    if (!rc && sqlite3_step(st) == SQLITE_ROW)
        *format = sqlite3_column_int(st, 0);
    int finalized = sqlite3_finalize(st);
    if (!rc)
        rc = finalized;
    if (rc || (*format != 0 && *format != META_FORMAT))
        return rc;
    char *pragma = xasprintf("PRAGMA user_version=%d", META_FORMAT);
    rc = sqlite3_exec(m->db, schema, NULL, NULL, NULL);
    if (!rc && *format == 0)
        rc = sqlite3_exec(m->db, pragma, NULL, NULL, NULL);
    free(pragma);
    for (int i = 0; i < ST_COUNT && !rc; i++)
        rc = sqlite3_prepare_v2(m->db, sql[i], -1, &m->stmt[i], NULL);
    *format = META_FORMAT;
    return rc;
}

static void meta_free(struct meta_store *m)
{
    for (int i = 0; i < ST_COUNT; i++)
        sqlite3_finalize(m->stmt[i]);
    sqlite3_close(m->db);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->work);
    pthread_cond_destroy(&m->idle);
    free(m);
}

enum tg_err meta_open(struct meta_store **out, const char *dir, char **why)
{
    struct meta_store *m = xcalloc(1, sizeof *m);
    char *path = xasprintf("%s/meta.db", dir);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->work, NULL);
    pthread_cond_init(&m->idle, NULL);
    queue_init(&m->queue);
    *why = NULL;
    int format = 0;
    int rc = sqlite3_open_v2(
        path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!rc)
        rc = set_up(m, &format);
    enum tg_err e = sqlite_err(rc);
    if (e) {
        *why = xasprintf("%s: %s", path, sqlite3_errmsg(m->db));
    } else if (format != META_FORMAT) {
        e = TG_EUNSUPPORTED;
        *why = xasprintf("%s: its format is %d, this program knows %d", path, format, META_FORMAT);
    }
    free(path);
    if (e) {
        meta_free(m);
        return e;
    }
    rc = pthread_create(&m->thread, NULL, meta_main, m);
    TG_ASSERT(rc == 0); /* as with malloc: a machine without threads to give */
    *out = m;
    return TG_OK;
}

void meta_close(struct meta_store *m)
{
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    TG_ASSERT(!m->watches); /* of ports that were not closed */
    meta_free(m);
}

/* ---- ports ---- */

struct ms_port *ms_port_open(struct meta_store *m, void (*wake)(void *ctx), void *ctx)
{
    struct ms_port *p = xcalloc(1, sizeof *p);
    *p = (struct ms_port){.meta = m, .wake = wake, .ctx = ctx};
    queue_init(&p->results);
    return p;
}

static void remove_watches(struct meta_store *m, const struct ms_port *p)
{
    for (struct watch **at = &m->watches; *at;) {
        struct watch *w = *at;
        if (w->port != p) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w->prefix);
        free(w);
    }
}

void ms_port_close(struct ms_port *p)
{
    struct meta_store *m = p->meta;
    pthread_mutex_lock(&m->lock);
    while (p->outstanding)
        pthread_cond_wait(&m->idle, &m->lock);
    remove_watches(m, p);
    pthread_mutex_unlock(&m->lock);
    for (struct op *op; (op = queue_pop(&p->results));)
        op_free(op);
    free(p);
}

static void call_back(const struct op *op)
{
    struct ms_item ev = {op->key, op->value, op->len, op->version};
    bool got = op->kind == OP_GET && op->err == TG_OK;
    if (op->kind == OP_EVENT)
        op->watched(op->ctx, &ev);
    else if (op->kind == OP_LIST)
        op->listed(op->ctx, op->err, op->items, op->err ? 0 : op->item_count);
    else
        op->done(op->ctx, op->err, op->version, got ? op->value : NULL, got ? op->len : 0);
}

void ms_port_poll(struct ms_port *p)
{
    struct op_queue ready;
    queue_init(&ready);
    pthread_mutex_lock(&p->meta->lock);
    if (p->results.head) {
        ready = p->results;
        queue_init(&p->results);
    }
    pthread_mutex_unlock(&p->meta->lock);
    for (struct op *op = ready.head, *next; op; op = next) {
        next = op->next;
        call_back(op);
        op_free(op);
    }
}

bool ms_port_finish(struct ms_port *p)
{
    pthread_mutex_lock(&p->meta->lock);
    bool any = p->outstanding > 0 || p->results.head;
    while (p->outstanding)
        pthread_cond_wait(&p->meta->idle, &p->meta->lock);
    pthread_mutex_unlock(&p->meta->lock);
    ms_port_poll(p);
    return any;
}

static struct op *op_new(struct ms_port *p, enum op_kind kind, const char *key, void *ctx)
{
    struct op *op = xcalloc(1, sizeof *op);
    op->kind = kind;
    op->port = p;
    op->key = xstrdup(key);
    op->ctx = ctx;
    return op;
}

static void submit(struct op *op)
{
    struct meta_store *m = op->port->meta;
    pthread_mutex_lock(&m->lock);
    op->port->outstanding++;
    queue_push(&m->queue, op);
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
}

void ms_get(struct ms_port *p, const char *key, ms_done done, void *ctx)
{
    struct op *op = op_new(p, OP_GET, key, ctx);
    op->done = done;
    submit(op);
}

void ms_put(struct ms_port *p, const char *key, const char *value, size_t len, int64_t expected,
            ms_done done, void *ctx)
{
    struct op *op = op_new(p, OP_PUT, key, ctx);
    op->value = xstrndup(value, len);
    op->len = len;
    op->expected = expected;
    op->done = done;
    submit(op);
}

void ms_delete(struct ms_port *p, const char *key, int64_t expected, ms_done done, void *ctx)
{
    struct op *op = op_new(p, OP_DELETE, key, ctx);
    op->expected = expected;
    op->done = done;
    submit(op);
}

void ms_list(struct ms_port *p, const char *prefix, ms_listed done, void *ctx)
{
    struct op *op = op_new(p, OP_LIST, prefix, ctx);
    op->listed = done;
    submit(op);
}

void ms_watch(struct ms_port *p, const char *prefix, ms_watched fn, void *ctx)
{
    struct op *op = op_new(p, OP_WATCH, prefix, ctx);
    op->watched = fn;
    submit(op);
}

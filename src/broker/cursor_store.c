/* cursor_store.c - cursors in the metadata store. A subscription has at most one periodic write
 * under way; what moves meanwhile is written with the next. The store is given leave to forget
 * entries after the row that no longer needs them is durable.
 *
 * Invariant: a durable cursor that is dirty has its timer armed or a write under way that arms it
 * again. */
#include "broker/cursor_store.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"

char *cursor_row_key(const struct topic_name *n, const char *sub)
{
    return xasprintf("cursor/%s/%s\n%s", n->ns, n->local, sub);
}

json_t *cursor_row(const struct subscription *s)
{
    json_t *row = json_object();
    json_object_set_new(row, "type", json_string(s->type == SUB_SHARED ? "Shared" : "Exclusive"));
    json_object_set_new(row, "durable", json_true());
    if (s->properties)
        json_object_set(row, "properties", s->properties);
    json_object_set_new(row, "cursor", cursor_to_json(&s->cursor, CURSOR_RANGES_PERSISTED));
    return row;
}

struct write {
    struct subscription *sub;
    subscription_done done;
    void *ctx;
};

static void finish(struct write *w, enum tg_err e)
{
    struct write v = *w;
    free(w);
    if (!subscription_release(v.sub)) {
        v.done(v.ctx, NULL, TG_ECLOSED);
        return;
    }
    if (!e)
        topic_trim(v.sub->topic);
    v.done(v.ctx, v.sub, e);
}

static void on_written(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    finish(ctx, e);
}

static struct write *write_new(struct subscription *s, subscription_done done, void *ctx)
{
    struct write *w = xmalloc(sizeof *w);
    *w = (struct write){.sub = s, .done = done, .ctx = ctx};
    subscription_hold(s);
    return w;
}

void cursor_store_write(struct subscription *s, subscription_done done, void *ctx)
{
    struct write *w = write_new(s, done, ctx);
    if (!s->durable) {
        finish(w, TG_OK);
        return;
    }
    s->cursor_dirty = false;
    json_t *row = cursor_row(s);
    char *text = json_dumps(row, JSON_COMPACT);
    char *key = cursor_row_key(&s->topic->name, s->name);
    ms_put(s->shard->meta, key, text, strlen(text), MS_ANY, on_written, w);
    free(key);
    free(text);
    json_decref(row);
}

static void on_row_deleted(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    struct write w = *(struct write *)ctx;
    free(ctx);
    (void)subscription_release(w.sub); /* <done> holds it too */
    w.done(w.ctx, NULL, e == TG_ENOENT ? TG_OK : e);
}

void cursor_store_delete(struct subscription *s, subscription_done done, void *ctx)
{
    if (!s->durable) {
        done(ctx, NULL, TG_OK);
        return;
    }
    timer_disarm(s->shard->worker, &s->flush_timer);
    char *key = cursor_row_key(&s->topic->name, s->name);
    ms_delete(s->shard->meta, key, MS_ANY, on_row_deleted, write_new(s, done, ctx));
    free(key);
}

/* ---- at most once per cursor_flush_ms ---- */

static void arm(struct subscription *s)
{
    int64_t wait_ns = s->shard->broker->settings->cursor_flush_ms * MONO_MS;
    timer_arm(s->shard->worker, &s->flush_timer, shard_now_ns(s->shard) + wait_ns);
}

void cursor_store_mark(struct subscription *s)
{
    if (!s->durable)
        return;
    s->cursor_dirty = true;
    if (!s->flushing && s->state == SUB_READY && !timer_is_armed(&s->flush_timer))
        arm(s);
}

static void on_flushed(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)ctx;
    if (!s)
        return;
    s->flushing = false;
    if (e) {
        log_error("topic %s: subscription %s: its cursor can't be written: %s", s->topic->name.full,
                  s->name, err_text(e));
        s->cursor_dirty = true;
    }
    if (s->cursor_dirty && s->state == SUB_READY)
        arm(s);
}

static void flush_fired(struct timer *t, int64_t now_ns)
{
    struct subscription *s =
        (struct subscription *)((char *)t - offsetof(struct subscription, flush_timer));
    (void)now_ns;
    if (!s->durable) { /* nobody came back after a seek */
        if (!s->consumers)
            subscription_free(s);
    } else if (s->cursor_dirty && s->state == SUB_READY && s->topic->state == TOPIC_READY) {
        s->flushing = true;
        cursor_store_write(s, on_flushed, NULL);
    }
}

void cursor_store_init(struct subscription *s)
{
    timer_init(&s->flush_timer, flush_fired);
}

void cursor_store_fini(struct subscription *s)
{
    timer_disarm(s->shard->worker, &s->flush_timer);
}

/* ---- the orderly stop ---- */

struct flush_all {
    uint64_t left;
    void (*done)(void *ctx);
    void *ctx;
};

static void one_less(struct flush_all *f)
{
    if (--f->left > 0)
        return;
    struct flush_all all = *f;
    free(f);
    all.done(all.ctx);
}

static void on_last_write(void *ctx, struct subscription *s, enum tg_err e)
{
    if (e && s)
        log_error("topic %s: subscription %s: its cursor can't be written: %s", s->topic->name.full,
                  s->name, err_text(e));
    one_less(ctx);
}

void subscriptions_flush_all(struct shard *sh, void (*done)(void *ctx), void *ctx)
{
    struct flush_all *f = xmalloc(sizeof *f);
    *f = (struct flush_all){.left = 1, .done = done, .ctx = ctx};
    struct topic *t, *next_t;
    HASH_ITER(hh, sh->topics, t, next_t)
    {
        struct subscription *s, *next_s;
        HASH_ITER(hh, t->subscriptions, s, next_s)
        {
            /* one under way is written again: this one's end is waited for */
            if (!s->durable || s->state != SUB_READY || !(s->cursor_dirty || s->flushing))
                continue;
            f->left++;
            timer_disarm(sh->worker, &s->flush_timer);
            cursor_store_write(s, on_last_write, f);
        }
    }
    one_less(f);
}

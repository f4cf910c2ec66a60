/* registry_blocks.c - the blocks that stand: made, kept over a restart, removed, ended by the
 * clock.
 *
 * Invariant: a change of the blocks ends when it is on disk and in force on every worker, for who
 * is there and who comes. The list has one block of a kind and name. An id is given once: the last
 * one is on disk before a block has it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/blocking.h"
#include "broker/registry_priv.h"

/* The wall clock may be set: so often it is looked at again. */
#define LOOK_AGAIN_NS (10 * MONO_S)

static void arm_end(struct registry *r);

/* ---- the list ---- */

const struct block *registry_blocks(const struct registry *r)
{
    return r->blocks;
}

static struct block *same_kind_and_name(struct registry *r, const struct block *as)
{
    struct block *b;
    DL_FOREACH(r->blocks, b)
    {
        if (b->kind == as->kind && strcmp(b->name, as->name) == 0)
            return b;
    }
    return NULL;
}

struct block *registry_block(const struct registry *r, uint64_t id)
{
    struct block *b;
    DL_FOREACH(r->blocks, b)
    {
        if (b->id == id)
            return b;
    }
    return NULL;
}

static void drop(struct registry *r, struct block *b)
{
    DL_DELETE(r->blocks, b);
    r->block_count--;
    block_free(b);
}

/* A new one is the last. */
static void put_in_order(struct registry *r, struct block *b)
{
    struct block *at = r->blocks != NULL ? r->blocks->prev : NULL; /* the tail */
    if (at == NULL || at->id < b->id) {
        DL_APPEND(r->blocks, b);
        return;
    }
    while (at != r->blocks && at->prev->id > b->id)
        at = at->prev;
    DL_PREPEND_ELEM(r->blocks, at, b);
}

static void take(struct registry *r, struct block *b)
{
    struct block *before = same_kind_and_name(r, b);
    if (before != NULL)
        drop(r, before);
    put_in_order(r, b);
    r->block_count++;
    if (b->id > r->last_block)
        r->last_block = b->id;
}

static void in_force(void *ctx, enum tg_err e)
{
    change_end(ctx, e);
}

static const char last_key[] = "block/last";

static char *key_of(uint64_t id)
{
    return xasprintf("block/%llu", (unsigned long long)id);
}

/* ---- adding ---- */

static void on_added(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    const struct block *b = c->block;
    take(r, block_copy(b));
    log_info("block %llu: %s %s is blocked by %s%s%s%s", (unsigned long long)b->id,
             block_kind_name(b->kind), b->name, b->by != NULL ? b->by : "-",
             b->disconnect ? ", and disconnected" : "", b->note != NULL ? ": " : "",
             b->note != NULL ? b->note : "");
    event_post(r->shard, EVENT_BLOCKED, block_to_json(b));
    arm_end(r);
    blocking_begin(r->shard->broker, b, NULL, in_force, c);
}

static void put_block(struct change *c)
{
    char *key = key_of(c->block->id);
    change_put_row(c, key, block_to_json(c->block), MS_ANY, on_added);
    free(key);
}

static void on_id_kept(struct change *c, enum tg_err e)
{
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    c->registry->last_block = c->block->id;
    put_block(c);
}

static void begin_add(struct change *c)
{
    struct registry *r = c->registry;
    struct block *before = same_kind_and_name(r, c->block);
    if (before == NULL && r->block_count >= BLOCKS_MAX) {
        change_end(c, TG_ELIMIT);
        return;
    }
    c->block->id = before != NULL ? before->id : r->last_block + 1;
    if (c->by != NULL)
        c->block->by = xstrdup(c->by);
    if (c->id_out != NULL)
        *c->id_out = c->block->id;
    if (before != NULL)
        put_block(c);
    else
        change_put_row(c, last_key, json_pack("{s:I}", "id", (json_int_t)c->block->id), MS_ANY,
                       on_id_kept);
}

void registry_add_block(struct registry *r, struct block *b, uint64_t *id, registry_done done,
                        void *ctx)
{
    struct change *c = change_new(r, begin_add, NULL, NULL, done, ctx);
    c->block = b;
    c->id_out = id;
    change_submit(c);
}

/* ---- removing ---- */

static void on_removed(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    struct block *b = registry_block(r, c->id);
    if (e != TG_OK || b == NULL) {
        change_end(c, e);
        return;
    }
    log_info("block %llu: %s %s goes on: %s", (unsigned long long)b->id, block_kind_name(b->kind),
             b->name, c->by != NULL ? c->by : "the block has ended");
    json_t *facts = block_to_json(b);
    json_object_set_new(facts, "by", c->by != NULL ? json_string(c->by) : json_null());
    json_object_set_new(facts, "why", json_string(c->by != NULL ? "removed" : "its end has come"));
    event_post(r->shard, EVENT_UNBLOCKED, facts);
    DL_DELETE(r->blocks, b);
    r->block_count--;
    arm_end(r);
    blocking_begin(r->shard->broker, NULL, b, in_force, c);
    block_free(b);
}

static void begin_remove(struct change *c)
{
    struct block *b = registry_block(c->registry, c->id);
    if (b == NULL || (c->only_if_ended && b->until_wall_ns > wall_now_ns())) {
        change_end(c, TG_ENOENT);
        return;
    }
    char *key = key_of(c->id);
    change_delete_row(c, key, on_removed);
    free(key);
}

static struct change *remove_block(struct registry *r, uint64_t id, registry_done done, void *ctx)
{
    struct change *c = change_new(r, begin_remove, NULL, NULL, done, ctx);
    c->id = id;
    return c;
}

void registry_remove_block(struct registry *r, uint64_t id, registry_done done, void *ctx)
{
    change_submit(remove_block(r, id, done, ctx));
}

/* ---- the end by the clock ---- */

static void on_ended(void *ctx, enum tg_err e)
{
    struct registry *r = ctx;
    r->ending_block = false;
    if (e == TG_OK || e == TG_ENOENT) {
        arm_end(r);
    } else if (e != TG_ECLOSED) {
        log_warn("a block that has ended could not be removed: %s; tried again in %d s",
                 err_text(e), (int)(LOOK_AGAIN_NS / MONO_S));
        timer_arm(r->shard->worker, &r->block_timer, shard_now_ns(r->shard) + LOOK_AGAIN_NS);
    }
}

static struct block *ends_first(struct registry *r)
{
    struct block *b, *first = NULL;
    DL_FOREACH(r->blocks, b)
    {
        if (b->until_wall_ns != 0 && (first == NULL || b->until_wall_ns < first->until_wall_ns))
            first = b;
    }
    return first;
}

static void arm_end(struct registry *r)
{
    struct block *b = ends_first(r);
    timer_disarm(r->shard->worker, &r->block_timer);
    if (b == NULL || r->ending_block)
        return;
    int64_t left_ns = b->until_wall_ns - wall_now_ns();
    if (left_ns > LOOK_AGAIN_NS)
        left_ns = LOOK_AGAIN_NS;
    timer_arm(r->shard->worker, &r->block_timer,
              shard_now_ns(r->shard) + (left_ns > MONO_MS ? left_ns : MONO_MS));
}

static void on_time(struct timer *t, int64_t now_ns)
{
    struct registry *r = (struct registry *)((char *)t - offsetof(struct registry, block_timer));
    struct block *b = ends_first(r);
    (void)now_ns;
    if (b == NULL || b->until_wall_ns > wall_now_ns()) {
        arm_end(r);
        return;
    }
    r->ending_block = true;
    struct change *c = remove_block(r, b->id, on_ended, r);
    c->only_if_ended = true; /* it may be given a later end meanwhile */
    free(c->by);
    c->by = NULL;
    change_submit(c);
}

/* ---- start and end ---- */

void registry_blocks_init(struct registry *r)
{
    timer_init(&r->block_timer, on_time);
}

enum tg_err block_restore(struct registry *r, const char *key, const json_t *row)
{
    struct block *b;
    if (strcmp(key, last_key) == 0) {
        uint64_t last = (uint64_t)json_integer_value(json_object_get(row, "id"));
        r->last_block = last > r->last_block ? last : r->last_block;
        return last > 0 ? TG_OK : TG_ECORRUPT;
    }
    enum tg_err e = block_from_row(&b, row);
    if (e == TG_OK)
        take(r, b);
    return e;
}

void registry_blocks_start(struct registry *r, void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    arm_end(r);
    blocking_begin(r->shard->broker, r->blocks, NULL, done, ctx);
}

void registry_blocks_free(struct registry *r)
{
    while (r->blocks != NULL)
        drop(r, r->blocks);
}

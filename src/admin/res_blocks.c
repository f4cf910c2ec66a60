/* res_blocks.c - /admin/v2/blocks: who an administrator has stopped (broker/block.h). */
#include <stdlib.h>

#include "admin/part.h"
#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/block.h"

enum { LISTED_PER_TURN = 100 }; /* some 3 us each */

/* ---- listing: some a turn, in the order of their ids ---- */

struct listing { /* call->handler_own; the list itself is call->results */
    uint64_t last_id;
};

static void list_more(struct call *c, bool lost)
{
    struct listing *l = c->handler_own;
    const struct block *b = registry_blocks(res_registry(c));
    if (lost) {
        reply_err(c, TG_ECLOSED);
        return;
    }
    while (b != NULL && b->id <= l->last_id)
        b = b->next;
    for (int n = 0; b != NULL && n < LISTED_PER_TURN; n++, b = b->next) {
        json_array_append_new(c->results, block_to_json(b));
        l->last_id = b->id;
    }
    if (b != NULL) {
        call_go_on_later(c, 0, list_more);
        return;
    }
    json_t *list = c->results;
    c->results = NULL;
    reply_json(c, 200, list);
}

void blocks_list(struct call *c)
{
    c->handler_own = xcalloc(1, sizeof(struct listing));
    c->results = json_array();
    list_more(c, false);
}

static const struct block *named(struct call *c)
{
    const struct block *b = registry_block(res_registry(c), (uint64_t)call_number(c));
    if (b == NULL)
        reply_reason(c, 404, "there is no block %s", call_capture(c, CAP_NUMBER));
    return b;
}

void blocks_get(struct call *c)
{
    const struct block *b = named(c);
    if (b != NULL)
        reply_json(c, 200, block_to_json(b));
}

/* ---- adding ---- */

static void on_added(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    const struct block *b = registry_block(res_registry(c), *(const uint64_t *)c->handler_own);
    if (e == TG_ELIMIT)
        reply_reason(c, 412, "there are %d blocks already", BLOCKS_MAX);
    else if (e == TG_OK && b != NULL)
        reply_json(c, 200, block_to_json(b));
    else
        reply_err(c, e);
}

void blocks_add(struct call *c)
{
    json_t *body;
    if (!call_json(c, &body))
        return;
    struct block *b;
    char *why = NULL;
    enum tg_err e = block_from_json(&b, body, wall_now_ns(), &why);
    json_decref(body);
    if (e != TG_OK) {
        reply_reason(c, e == TG_ERANGE ? 412 : 400, "%s", why);
        free(why);
        return;
    }
    c->handler_own = xcalloc(1, sizeof(uint64_t));
    registry_add_block(res_registry(c), b, c->handler_own, on_added, c);
}

/* ---- removing ---- */

static void on_removed(void *ctx, enum tg_err e)
{
    reply_err(ctx, e);
}

void blocks_remove(struct call *c)
{
    const struct block *b = named(c);
    if (b != NULL)
        registry_remove_block(res_registry(c), b->id, on_removed, c);
}

/* res_blocks.c - /admin/v2/blocks: who an administrator has stopped (broker/block.h). */
#include <stdlib.h>

#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/block.h"

void blocks_list(struct call *c)
{
    json_t *list = json_array();
    for (const struct block *b = registry_blocks(res_registry(c)); b != NULL; b = b->next)
        json_array_append_new(list, block_to_json(b));
    reply_json(c, 200, list);
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

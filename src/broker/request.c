/* request.c - see request.h. */
#include "broker/request.h"

#include <stdlib.h>

#include "base/alloc.h"

struct request *request_new(struct conn *c, uint64_t request_id)
{
    struct request *r = xmalloc(sizeof *r);
    *r = (struct request){.shard = c->shard, .conn_id = c->id, .request_id = request_id};
    return r;
}

void request_finish(struct request *r, enum tg_err e, const char *what)
{
    struct conn *c = conn_find(r->shard, r->conn_id);
    if (c && !e)
        conn_send_success(c, r->request_id);
    else if (c)
        conn_send_error(c, r->request_id,
                        e == TG_EIO ? PULSAR__PROTO__SERVER_ERROR__PersistenceError
                                    : PULSAR__PROTO__SERVER_ERROR__ServiceNotReady,
                        "%s: %s", what, err_text(e));
    free(r);
}

void request_sub_done(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)s;
    request_finish(ctx, e, "the subscription can't be changed");
}

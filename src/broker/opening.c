/* opening.c - see opening.h. A list per connection: few are open at a time. */
#include "broker/opening.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"

struct opening *opening_new(struct conn *c, uint64_t producer_id, uint64_t request_id)
{
    struct opening *o = xcalloc(1, sizeof *o);
    o->conn = c;
    o->producer_id = producer_id;
    o->request_id = request_id;
    DL_APPEND(c->opening, o);
    c->opening_count++;
    return o;
}

static void forget_conn(struct opening *o)
{
    DL_DELETE(o->conn->opening, o);
    o->conn->opening_count--;
    o->conn = NULL;
}

void opening_free(struct opening *o)
{
    if (o->conn)
        forget_conn(o);
    free(o->name);
    free(o->initial_subscription);
    json_decref(o->metadata);
    free(o);
}

static struct opening *find(const struct conn *c, uint64_t producer_id)
{
    struct opening *o;
    DL_FOREACH(c->opening, o)
    {
        if (o->producer_id == producer_id)
            return o;
    }
    return NULL;
}

bool opening_exists(const struct conn *c, uint64_t producer_id)
{
    return find(c, producer_id) != NULL;
}

bool opening_cancel(struct conn *c, uint64_t producer_id)
{
    struct opening *o = find(c, producer_id);
    if (o)
        forget_conn(o);
    return o != NULL;
}

void openings_drop_all(struct conn *c)
{
    while (c->opening)
        forget_conn(c->opening);
}

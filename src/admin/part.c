/* part.c - see part.h. A call counts its parts; that some are still to be begun counts as one, so
 * that it can't end before.
 *
 * Of many partitions some are asked per turn, and not too many at once: so no worker's messages
 * wait for all of them. A call of which parts are to be begun in a later turn is in admin->paced.
 */
#include "admin/part.h"

#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "admin/http.h"
#include "admin/res.h"
#include "base/mono.h"
#include "base/alloc.h"

enum { PARTS_PER_TURN = 50, PARTS_AT_ONCE = 200 }; /* each takes some 20 us where its topic lives */

static void ended(struct call *c, enum tg_err e)
{
    struct parts *s = &c->parts;
    if (e != TG_OK && s->first_error == TG_OK)
        s->first_error = e;
    if (--s->pending == 0)
        s->all_done(c, s->first_error);
}

static void on_back(struct visit *v)
{
    struct part *p = (struct part *)v;
    struct call *c = p->call;
    enum tg_err e = v->err;
    if (p->result != NULL)
        json_object_set_new(c->results, p->topic, p->result);
    free(p->topic);
    free(p);
    ended(c, e);
}

void part_end(struct part *p, enum tg_err e)
{
    p->visit.err = e;
    visit_back(&p->visit);
}

static void on_arrival(struct visit *v, struct topic *t)
{
    struct part *p = (struct part *)v;
    p->run(p, t);
}

/* ---- a call that goes on in a later turn ---- */

static void end_pause(struct call *c, bool lost)
{
    DL_DELETE2(c->admin->paced, c, pace.prev, pace.next);
    c->pace.go_on(c, lost);
}

static void on_turn(struct timer *t, int64_t now_ns)
{
    (void)now_ns;
    end_pause((struct call *)((char *)t - offsetof(struct call, pace.timer)), false);
}

void call_go_on_later(struct call *c, int64_t wait_ns, void (*go_on)(struct call *c, bool lost))
{
    c->pace.go_on = go_on;
    DL_APPEND2(c->admin->paced, c, pace.prev, pace.next);
    timer_init(&c->pace.timer, on_turn);
    timer_arm(c->shard->worker, &c->pace.timer, shard_now_ns(c->shard) + wait_ns);
}

void parts_abandon(struct admin *a)
{
    while (a->paced != NULL)
        end_pause(a->paced, true);
}

/* ---- parts ---- */

static void begin(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e))
{
    c->parts = (struct parts){.run = run, .all_done = all_done, .pending = 1};
    json_decref(c->results);
    c->results = json_object();
}

static void begin_one(struct call *c, struct place *at)
{
    struct part *p = xcalloc(1, sizeof *p);
    p->call = c;
    p->run = c->parts.run;
    p->topic = xstrdup(at->name.full);
    c->parts.pending++;
    place_visit(at, &p->visit, on_arrival, on_back);
}

void part_on_topic(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e))
{
    struct place *p = res_place(c);
    if (p == NULL)
        return;
    begin(c, run, all_done);
    begin_one(c, p);
    ended(c, TG_OK);
}

/* When it is gone by now, nothing more is begun. */
static void go_on(struct call *c, bool lost)
{
    struct partitioned *whole = registry_partitioned(res_registry(c), c->topic.full);
    struct parts *s = &c->parts;
    int end = whole != NULL ? whole->partitions : 0;
    if (lost) {
        ended(c, TG_ECLOSED);
        return;
    }
    for (int n = 0; n < PARTS_PER_TURN && s->pending < PARTS_AT_ONCE && s->next_one < end; n++) {
        struct place *one = res_partition(c, whole, s->next_one++);
        if (one != NULL)
            begin_one(c, one);
    }
    if (s->next_one >= end) {
        ended(c, TG_OK);
        return;
    }
    int64_t wait_ns = s->pending < PARTS_AT_ONCE ? 0 : MONO_MS;
    call_go_on_later(c, wait_ns, go_on);
}

bool part_on_each(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e))
{
    struct partitioned *whole = registry_partitioned(res_registry(c), c->topic.full);
    struct place *p = place_find_ready(res_registry(c), c->topic.full);
    if (whole == NULL && p == NULL)
        return false;
    begin(c, run, all_done);
    if (whole == NULL)
        begin_one(c, p);
    go_on(c, false);
    return true;
}

json_t *part_result(struct call *c)
{
    void *first = json_object_iter(c->results);
    json_t *j = first != NULL ? json_incref(json_object_iter_value(first)) : json_null();
    json_decref(c->results);
    c->results = NULL;
    return j;
}

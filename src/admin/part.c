/* part.c - see part.h. A call counts its parts; the handler's own share is one, so that it can't
 * end while parts are still begun. */
#include "admin/part.h"

#include <stdlib.h>

#include "admin/res.h"
#include "base/alloc.h"

static void ended(struct call *c, enum tg_err e)
{
    if (e != TG_OK && c->first_error == TG_OK)
        c->first_error = e;
    if (--c->pending == 0)
        c->all_done(c, c->first_error);
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

static void begin(struct call *c, void (*all_done)(struct call *c, enum tg_err e))
{
    c->pending = 1;
    c->first_error = TG_OK;
    c->all_done = all_done;
    json_decref(c->results);
    c->results = json_object();
}

static void run_on(struct call *c, struct place *at, part_run run)
{
    struct part *p = xcalloc(1, sizeof *p);
    p->call = c;
    p->run = run;
    p->topic = xstrdup(at->name.full);
    c->pending++;
    place_visit(at, &p->visit, on_arrival, on_back);
}

void part_on_topic(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e))
{
    struct place *p = res_place(c);
    if (p == NULL)
        return;
    begin(c, all_done);
    run_on(c, p, run);
    ended(c, TG_OK);
}

bool part_on_each(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e))
{
    struct partitioned *whole = registry_partitioned(res_registry(c), c->topic.full);
    struct place *p = place_find_ready(res_registry(c), c->topic.full);
    if (whole == NULL && p == NULL)
        return false;
    begin(c, all_done);
    if (whole == NULL)
        run_on(c, p, run);
    for (int i = 0; whole != NULL && i < whole->partitions; i++) {
        struct place *one = res_partition(c, whole, i);
        if (one != NULL)
            run_on(c, one, run);
    }
    ended(c, TG_OK);
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

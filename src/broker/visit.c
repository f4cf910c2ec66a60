/* visit.c - what the control worker wants done with a topic is done where it lives.
 *
 * A place is freed only after its topic was, and that is asked for by a letter like all others: so
 * a visit that was begun finds its topic. */
#include "broker/broker.h"
#include "broker/place.h"

static void on_return(struct letter *l, struct shard *at)
{
    struct visit *v = (struct visit *)l;
    (void)at;
    v->back(v);
}

void visit_lost(struct visit *v)
{
    v->lost = true;
    v->err = TG_ECLOSED;
    v->back(v);
}

static void on_lost(struct letter *l)
{
    visit_lost((struct visit *)l);
}

void visit_back(struct visit *v)
{
    if (v->at == v->from)
        v->back(v);
    else
        letter_post(v->at, v->from, &v->letter, on_return, on_lost);
}

static void on_arrival(struct letter *l, struct shard *at)
{
    struct visit *v = (struct visit *)l;
    (void)at;
    v->there(v, v->topic);
}

void place_visit(struct place *p, struct visit *v, void (*there)(struct visit *v, struct topic *t),
                 void (*back)(struct visit *v))
{
    v->topic = p->topic;
    v->from = &p->shard->broker->shard[0];
    v->at = p->shard;
    v->there = there;
    v->back = back;
    v->err = TG_OK;
    v->lost = false;
    if (v->at == v->from)
        there(v, v->topic);
    else
        letter_post(v->from, v->at, &v->letter, on_arrival, on_lost);
}

/* place.c - a topic's entry in the directory: made (row first), restored, given a worker, deleted
 * (row, then the rest). Its row's other changes are in place_row.c.
 *
 * Invariant: a place that is not CREATING has a topic, which lives on place->shard or is on its way
 * there by a letter; what is posted to that worker later finds it. */
#include "broker/place.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/chain.h"
#include "broker/place_row.h"
#include "broker/registry_priv.h"
#include "broker/topic.h"

struct place_waiting { /* somebody who waits for the row, or to make the topic anew */
    struct place_waiting *next;
    place_done done;
    void *ctx;
    json_t *properties; /* these two for a new one */
    struct shard *at;
};

/* ---- finding ---- */

static struct place *find_any(struct registry *r, const char *full_name)
{
    struct place *p;
    HASH_FIND_STR(r->places, full_name, p);
    return p;
}

struct place *place_find(struct registry *r, const char *full_name)
{
    struct place *p = find_any(r, full_name);
    return p && p->state != PLACE_ENDING ? p : NULL;
}

struct place *place_find_ready(struct registry *r, const char *full_name)
{
    struct place *p = place_find(r, full_name);
    return p && p->state == PLACE_READY ? p : NULL;
}

uint32_t places_count(const struct registry *r)
{
    return HASH_COUNT(r->places);
}

/* ---- in memory ---- */

static struct place *place_new(struct registry *r, const struct topic_name *n, struct ns *ns,
                               enum place_state state)
{
    struct place *p = xcalloc(1, sizeof *p);
    const char *why;
    enum tg_err e = topic_name_parse(&p->name, n->full, &why);
    TG_ASSERT(e == TG_OK); /* it was parsed before */
    p->ns = ns;
    p->state = state;
    p->shard = r->shard;
    HASH_ADD_KEYPTR(hh, r->places, p->name.full, strlen(p->name.full), p);
    DL_APPEND2(ns->places, p, ns_prev, ns_next);
    ns->topic_count++;
    return p;
}

static void waiting_free(struct place_waiting *w)
{
    json_decref(w->properties);
    free(w);
}

void place_free(struct place *p)
{
    struct registry *r = p->shard->broker->registry;
    round_skip(r, p);
    HASH_DEL(r->places, p);
    DL_DELETE2(p->ns->places, p, ns_prev, ns_next);
    p->ns->topic_count--;
    ns_free_if_gone(p->ns);
    chain_drop(p->chain);
    while (p->waiting) {
        struct place_waiting *w = p->waiting;
        LL_DELETE(p->waiting, w);
        waiting_free(w);
    }
    json_decref(p->properties);
    place_policies_free(p->policies);
    topic_name_fini(&p->name);
    free(p);
}

/* ---- a worker for it ---- */

struct arrival {
    struct letter letter; /* first */
    struct topic *topic;
    struct topic_rates rates;
};

static void on_arrival(struct letter *l, struct shard *at)
{
    struct arrival a = *(struct arrival *)l;
    free(l);
    topic_join(a.topic, at, &a.rates);
    topic_rates_fini(&a.rates);
}

static void on_lost(struct letter *l)
{
    struct arrival *a = (struct arrival *)l;
    topic_free(a->topic);
    topic_rates_fini(&a->rates);
    free(a);
}

/* Its topic, in no shard now, goes to live at <to>. */
static void settle_at(struct place *p, struct shard *to)
{
    struct topic_rates rates = place_rates(p);
    struct shard *control = &to->broker->shard[0];
    p->shard = to;
    if (to == control) {
        topic_join(p->topic, to, &rates);
        topic_rates_fini(&rates);
        return;
    }
    struct arrival *a = xcalloc(1, sizeof *a);
    a->topic = p->topic;
    a->rates = rates;
    letter_post(control, to, &a->letter, on_arrival, on_lost);
}

static void make_topic(struct place *p, struct shard *at)
{
    struct shard *control = p->shard;
    p->chain = chain_hold(place_chain(p));
    p->topic = topic_new(p);
    p->topic->is_unused = at == NULL;
    settle_at(p, at ? at : control);
}

/* It is wanted at <from> for the first time: it moves there, unless something is going on with it.
 */
static void use(struct place *p, struct shard *from)
{
    struct topic *t = p->topic;
    if (p->shard != &from->broker->shard[0] || !t->is_unused)
        return; /* only the control worker's topics can be unused, and it may look at those */
    if (from != p->shard && !topic_can_move(t))
        return;
    t->is_unused = false;
    if (from == p->shard)
        return;
    topic_leave(t);
    settle_at(p, from);
}

/* ---- making ---- */

static void wait_for(struct place *p, json_t *properties, struct shard *at, place_done done,
                     void *ctx)
{
    struct place_waiting *w = xmalloc(sizeof *w);
    *w = (struct place_waiting){
        .done = done, .ctx = ctx, .properties = json_incref(properties), .at = at};
    LL_APPEND(p->waiting, w);
}

static void tell(struct place_waiting *w, struct place *p, enum tg_err e)
{
    for (struct place_waiting *next; w; w = next) {
        next = w->next;
        w->done(w->ctx, p, e);
        waiting_free(w);
    }
}

struct creation {
    struct place *place;
    struct shard *at;
};

static void on_created(void *ctx, enum tg_err e)
{
    struct creation c = *(struct creation *)ctx;
    struct place *p = c.place;
    struct place_waiting *w = p->waiting;
    free(ctx);
    p->waiting = NULL;
    if (e) {
        log_warn("topic %s: can't be made: %s", p->name.full, err_text(e));
        place_free(p);
        tell(w, NULL, e);
        return;
    }
    p->state = PLACE_READY;
    make_topic(p, c.at);
    log_info("topic %s: made, ledger %llu", p->name.full, (unsigned long long)p->ledger);
    tell(w, p, TG_OK);
}

static struct place *begin_creation(struct registry *r, const struct topic_name *n, struct ns *ns,
                                    json_t *properties, struct shard *at)
{
    struct place *p = place_new(r, n, ns, PLACE_CREATING);
    p->ledger = r->shard->broker->next_ledger++;
    p->created_wall_ns = shard_wall_ns(r->shard);
    p->properties = json_incref(properties);
    struct creation *c = xmalloc(sizeof *c);
    *c = (struct creation){.place = p, .at = at};
    place_row_put(p, on_created, c);
    return p;
}

void place_create(struct registry *r, const struct topic_name *n, json_t *properties,
                  struct shard *at, place_done done, void *ctx)
{
    struct place *p = find_any(r, n->full);
    struct ns *ns = registry_ns(r, n->ns);
    if (p && p->state == PLACE_READY) {
        done(ctx, p, TG_OK);
        return;
    }
    enum tg_err e = TG_OK;
    if (p && p->state == PLACE_DELETING)
        e = TG_EBUSY;
    else if (!p && !ns)
        e = TG_ENOENT;
    else if (!p && places_count(r) >= r->shard->broker->settings->max_topics)
        e = TG_ELIMIT;
    if (e) {
        done(ctx, NULL, e);
        return;
    }
    if (!p)
        p = begin_creation(r, n, ns, properties, at);
    wait_for(p, properties, at, done, ctx);
}

enum tg_err place_restore(struct registry *r, const struct topic_name *n, const json_t *row)
{
    struct ns *ns = registry_ns(r, n->ns);
    struct rate_policy policy[RATE_KINDS];
    if (!ns || !json_is_integer(json_object_get(row, "ledger")))
        return TG_ECORRUPT;
    for (int k = 0; k < RATE_KINDS; k++) {
        enum tg_err e = policy_from_row(rate_form((enum rate_kind)k), &policy[k], row, n->full);
        if (e)
            return e;
    }
    struct sub_rates *of_sub;
    enum tg_err e = sub_rates_from_row(&of_sub, row, n->full);
    if (e)
        return e;
    struct place *p = place_new(r, n, ns, PLACE_READY);
    p->ledger = (uint64_t)json_integer_value(json_object_get(row, "ledger"));
    p->created_wall_ns = json_integer_value(json_object_get(row, "created")) * MONO_MS;
    p->properties = json_incref(json_object_get(row, "properties"));
    for (int k = 0; k < RATE_KINDS; k++)
        if (policy[k].present)
            place_policies(p)->rate[k] = place_policies(p)->row[k] = policy[k];
    if (of_sub)
        place_restore_sub_rates(p, of_sub);
    make_topic(p, NULL);
    return TG_OK;
}

/* ---- opening ---- */

struct placing {
    struct shard *from;
    place_opened done;
    void *ctx;
};

static void on_there(void *ctx, struct place *p, enum tg_err e)
{
    struct placing w = *(struct placing *)ctx;
    free(ctx);
    struct place_answer a = {.result = PLACE_FAILED, .err = e};
    if (p) {
        use(p, w.from);
        a = (struct place_answer){.result = PLACE_FOUND, .at = p->shard};
    }
    w.done(w.ctx, a);
}

/* It exists, or is a partition that is yet to be made, or any topic may be made. A partition that
 * its partitioned topic does not have is none of these. */
static bool may_be_opened(struct registry *r, const struct topic_name *n, bool may_make)
{
    if (place_find(r, n->full))
        return true;
    struct partitioned *p = n->partitioned ? registry_partitioned(r, n->partitioned) : NULL;
    return p ? n->partition < p->partitions : may_make;
}

void place_open(struct registry *r, const struct topic_name *n, bool may_make, struct shard *from,
                place_opened done, void *ctx)
{
    if (registry_partitioned(r, n->full)) {
        done(ctx, (struct place_answer){.result = PLACE_IS_PARTITIONED});
    } else if (!may_be_opened(r, n, may_make)) {
        done(ctx, (struct place_answer){.result = PLACE_NOT_THERE});
    } else {
        struct placing *w = xmalloc(sizeof *w);
        *w = (struct placing){.from = from, .done = done, .ctx = ctx};
        place_create(r, n, NULL, from, on_there, w);
    }
}

/* ---- deleting: its users and cursors, then its row, then the rest ---- */

struct deletion {
    struct visit visit; /* first */
    struct place *place;
    bool force;
    place_done done;
    void *ctx;
};

static void deletion_end(struct deletion *d, struct place *p, enum tg_err e)
{
    d->done(d->ctx, p, e);
    free(d);
}

static void not_deleted(struct visit *v)
{
    struct deletion *d = (struct deletion *)v;
    d->place->state = PLACE_READY;
    deletion_end(d, d->place, v->lost ? TG_ECLOSED : TG_EIO);
}

static void take_back(struct visit *v, struct topic *t)
{
    t->state = TOPIC_READY;
    visit_back(v);
}

static void make_anew(struct registry *r, const struct topic_name *n, struct place_waiting *w)
{
    for (struct place_waiting *next; w; w = next) {
        next = w->next;
        place_create(r, n, w->properties, w->at, w->done, w->ctx);
        waiting_free(w);
    }
}

/* The topic has ended: its name is free again. */
static void forget(struct visit *v)
{
    struct deletion *d = (struct deletion *)v;
    struct place *p = d->place;
    bool lost = v->lost;
    struct registry *r = p->shard->broker->registry;
    struct place_waiting *w = p->waiting;
    free(d);
    p->waiting = NULL;
    if (lost) { /* the broker's end frees what is left */
        tell(w, NULL, TG_ECLOSED);
        return;
    }
    struct topic_name name = p->name;
    p->name = (struct topic_name){0};
    place_free(p);
    make_anew(r, &name, w);
    topic_name_fini(&name);
}

static void end_topic(struct visit *v, struct topic *t)
{
    topic_end(t, v);
}

static void on_row_deleted(void *ctx, enum tg_err e)
{
    struct deletion *d = ctx;
    struct place *p = d->place;
    if (e && e != TG_ENOENT) {
        log_warn("topic %s: can't be deleted: %s", p->name.full, err_text(e));
        place_visit(p, &d->visit, take_back, not_deleted);
        return;
    }
    log_info("topic %s: deleted", p->name.full);
    p->state = PLACE_ENDING;
    d->done(d->ctx, NULL, TG_OK); /* what is in flight may take its time */
    place_visit(p, &d->visit, end_topic, forget);
}

static void on_emptied(struct visit *v)
{
    struct deletion *d = (struct deletion *)v;
    if (v->err) {
        d->place->state = PLACE_READY;
        deletion_end(d, d->place, v->err);
        return;
    }
    place_row_delete(d->place, on_row_deleted, d);
}

static void empty_topic(struct visit *v, struct topic *t)
{
    v->err = topic_empty(t, ((struct deletion *)v)->force);
    visit_back(v);
}

void place_delete(struct place *p, bool force, place_done done, void *ctx)
{
    if (p->state != PLACE_READY) {
        done(ctx, p, TG_EBUSY);
        return;
    }
    p->state = PLACE_DELETING;
    struct deletion *d = xcalloc(1, sizeof *d);
    d->place = p;
    d->force = force;
    d->done = done;
    d->ctx = ctx;
    place_visit(p, &d->visit, empty_topic, on_emptied);
}

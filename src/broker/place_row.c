/* place_row.c - a topic's row, and what an administrator changes in it: durable first, in force
 * then.
 *
 * Rows are written in the order of the changes, each with all changes before it; so what the last
 * one that succeeded says is what is in the store, and that is in force. A change that failed is
 * taken back unless a later one has taken its place. */
#include "broker/place_row.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/broker.h"
#include "broker/chain.h"
#include "broker/registry_priv.h"
#include "broker/topic.h"

struct writing {
    void (*done)(void *ctx, enum tg_err e);
    void *ctx;
};

static void on_stored(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version, (void)value, (void)len;
    struct writing w = *(struct writing *)ctx;
    free(ctx);
    w.done(w.ctx, e);
}

static struct writing *writing_new(void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    struct writing *w = xmalloc(sizeof *w);
    *w = (struct writing){.done = done, .ctx = ctx};
    return w;
}

static struct ms_port *port_of(const struct place *p)
{
    return p->shard->broker->shard[0].meta;
}

static char *key_of(const struct place *p)
{
    return xasprintf("topic/%s/%s", p->name.ns, p->name.local);
}

static json_t *row_of(const struct place *p)
{
    json_t *row = json_pack("{s:I, s:I}", "ledger", (json_int_t)p->ledger, "created",
                            (json_int_t)(p->created_wall_ns / MONO_MS));
    if (p->properties)
        json_object_set(row, "properties", p->properties);
    for (int k = 0; p->policies && k < RATE_KINDS; k++)
        policy_into_row(row, rate_form((enum rate_kind)k), &p->policies->row[k]);
    sub_rates_into_row(row, p->policies ? p->policies->of_sub_row : NULL);
    return row;
}

void place_row_put(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    char *key = key_of(p);
    json_t *row = row_of(p);
    char *text = json_dumps(row, JSON_COMPACT);
    ms_put(port_of(p), key, text, strlen(text), MS_ANY, on_stored, writing_new(done, ctx));
    free(text);
    json_decref(row);
    free(key);
}

void place_row_delete(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    char *key = key_of(p);
    ms_delete(port_of(p), key, MS_ANY, on_stored, writing_new(done, ctx));
    free(key);
}

/* ---- the policy ---- */

/* That it is a partition of; NULL: of none that there is. */
static struct partitioned *whole_of(const struct place *p)
{
    struct registry *r = p->shard->broker->registry;
    return p->name.partitioned ? registry_partitioned(r, p->name.partitioned) : NULL;
}

struct chain *place_chain(const struct place *p)
{
    const struct partitioned *whole = whole_of(p);
    return whole ? whole->chain : p->ns->chain;
}

struct place_policies *place_policies(struct place *p)
{
    if (!p->policies)
        p->policies = xcalloc(1, sizeof *p->policies);
    return p->policies;
}

void place_policies_free(struct place_policies *own)
{
    if (!own)
        return;
    sub_rates_drop(own->of_sub);
    sub_rates_drop(own->of_sub_row);
    free(own);
}

void place_restore_sub_rates(struct place *p, struct sub_rates *r)
{
    place_policies(p)->of_sub = r;
    place_policies(p)->of_sub_row = sub_rates_hold(r);
}

const struct rate_policy *place_own_rate(const struct place *p, enum rate_kind k)
{
    static const struct rate_policy none;
    return p->policies ? &p->policies->rate[k] : &none;
}

const struct rate_policy *place_own_sub_rate(const struct place *p, const char *subscription)
{
    return sub_rates_find(p->policies ? p->policies->of_sub : NULL, subscription);
}

struct rate_choice place_rate(const struct place *p, enum rate_kind k)
{
    struct rate_policy standard = settings_rate(registry_settings(p->shard->broker->registry), k);
    const struct rate_policy *own = place_own_rate(p, k);
    const struct partitioned *whole = own->present ? NULL : whole_of(p);
    return policy_rate(whole ? &whole->rate[k] : own, &p->ns->rate[k], &standard);
}

struct topic_rates place_rates(const struct place *p)
{
    const struct settings *set = registry_settings(p->shard->broker->registry);
    struct topic_rates rates = {.throttle_tailing = set->dispatch_throttle_tailing,
                                .entries_as_messages = set->dispatch_entries_as_messages};
    for (int k = 0; k < RATE_KINDS; k++)
        rates.kind[k] = place_rate(p, (enum rate_kind)k);
    const struct partitioned *whole = whole_of(p);
    struct sub_rates *own = p->policies ? p->policies->of_sub : NULL;
    rates.of_sub = sub_rates_hold(whole ? whole->sub_rates : own);
    return rates;
}

struct new_policies {
    struct visit visit;  /* first */
    struct place *place; /* stays: the topic goes after it has let go of the old chain */
    struct topic_rates rates;
    struct chain *chain;
};

static void put_in_force(struct visit *v, struct topic *t)
{
    const struct new_policies *n = (const struct new_policies *)v;
    topic_set_rates(t, &n->rates);
    topic_set_chain(t, n->chain, v); /* goes back when the old one is not used any more */
}

static void in_force(struct visit *v)
{
    struct new_policies *n = (struct new_policies *)v;
    if (v->lost) { /* the broker's end: the topic has either */
        chain_drop(n->chain);
    } else {
        chain_drop(n->place->chain);
        n->place->chain = n->chain;
    }
    topic_rates_fini(&n->rates);
    free(n);
}

void place_apply_policies(struct place *p)
{
    if (!p->topic || p->state == PLACE_ENDING)
        return; /* it gets them when it is made; or has ended, on its worker */
    struct new_policies *n = xcalloc(1, sizeof *n);
    n->place = p;
    n->rates = place_rates(p);
    n->chain = chain_hold(place_chain(p));
    place_visit(p, &n->visit, put_in_force, in_force);
}

struct rate_change {
    char *by;
    enum rate_kind kind;
    struct rate_policy policy;
    uint64_t number;
    struct place *place; /* stays: its deletion is asked for after this, on the same port */
    place_done done;
    void *ctx;
};

static void on_rate_saved(void *ctx, enum tg_err e)
{
    struct rate_change *c = ctx;
    struct place *p = c->place;
    struct place_policies *own = place_policies(p);
    if (!e) {
        registry_limit_changed(p->shard->broker->registry, c->by, "topic", p->name.full,
                               rate_form(c->kind), &own->rate[c->kind], &c->policy);
        own->rate[c->kind] = c->policy;
        place_apply_policies(p);
    } else if (own->changes[c->kind] == c->number) {
        own->row[c->kind] = own->rate[c->kind];
    }
    c->done(c->ctx, e ? NULL : p, e);
    free(c->by);
    free(c);
}

void place_set_rate(struct place *p, enum rate_kind kind, const struct rate_policy *rate,
                    place_done done, void *ctx)
{
    struct rate_change *c = xcalloc(1, sizeof *c);
    struct place_policies *own = place_policies(p);
    if (rate)
        c->policy = *rate;
    const char *by = registry_author(p->shard->broker->registry);
    c->by = by ? xstrdup(by) : NULL;
    c->kind = kind;
    c->number = ++own->changes[kind];
    c->place = p;
    c->done = done;
    c->ctx = ctx;
    own->row[kind] = c->policy;
    place_row_put(p, on_rate_saved, c);
}

/* ---- the rates of single subscriptions ---- */

struct sub_rate_change {
    char *by, *subscription;
    struct rate_policy policy;
    struct sub_rates *after; /* held; of all changes up to this one */
    uint64_t number;
    struct place *place; /* as rate_change's */
    place_done done;
    void *ctx;
};

static void put_table(struct sub_rates **at, struct sub_rates *r)
{
    struct sub_rates *before = *at;
    *at = sub_rates_hold(r);
    sub_rates_drop(before);
}

static void on_sub_rate_saved(void *ctx, enum tg_err e)
{
    struct sub_rate_change *c = ctx;
    struct place *p = c->place;
    struct place_policies *own = place_policies(p);
    if (!e) {
        registry_sub_limit_changed(p->shard->broker->registry, c->by, p->name.full, c->subscription,
                                   place_own_sub_rate(p, c->subscription), &c->policy);
        put_table(&own->of_sub, c->after);
        place_apply_policies(p);
    } else if (own->of_sub_changes == c->number) {
        put_table(&own->of_sub_row, own->of_sub);
    }
    c->done(c->ctx, e ? NULL : p, e);
    sub_rates_drop(c->after);
    free(c->subscription);
    free(c->by);
    free(c);
}

void place_set_sub_rate(struct place *p, const char *subscription, const struct rate_policy *rate,
                        place_done done, void *ctx)
{
    static const struct rate_policy none;
    struct place_policies *own = place_policies(p);
    struct sub_rates *after;
    if (!rate)
        rate = &none;
    enum tg_err e = sub_rates_with(own->of_sub_row, subscription, rate, &after);
    if (e) {
        done(ctx, NULL, e);
        return;
    }
    const char *by = registry_author(p->shard->broker->registry);
    struct sub_rate_change *c = xcalloc(1, sizeof *c);
    *c = (struct sub_rate_change){.by = by ? xstrdup(by) : NULL,
                                  .subscription = xstrdup(subscription),
                                  .policy = *rate,
                                  .after = after,
                                  .number = ++own->of_sub_changes,
                                  .place = p,
                                  .done = done,
                                  .ctx = ctx};
    put_table(&own->of_sub_row, after);
    place_row_put(p, on_sub_rate_saved, c);
}

/* ---- properties ---- */

struct properties_change {
    struct place *place;
    json_t *before, *after;
    place_done done;
    void *ctx;
};

/* The topic keeps them, too: statistics are made on its worker. */
struct new_properties {
    struct visit visit; /* first */
    json_t *properties;
};

static void give_properties(struct visit *v, struct topic *t)
{
    json_t *before = t->properties;
    t->properties = json_incref(((struct new_properties *)v)->properties);
    json_decref(before);
    visit_back(v);
}

static void properties_given(struct visit *v)
{
    json_decref(((struct new_properties *)v)->properties);
    free(v);
}

static void tell_topic(struct place *p)
{
    struct new_properties *n = xcalloc(1, sizeof *n);
    n->properties = json_incref(p->properties);
    place_visit(p, &n->visit, give_properties, properties_given);
}

static void on_properties_saved(void *ctx, enum tg_err e)
{
    struct properties_change *c = ctx;
    struct place *p = c->place;
    if (e && p->properties == c->after) { /* else a later change has taken its place */
        p->properties = json_incref(c->before);
        json_decref(c->after);
    }
    tell_topic(p);
    json_decref(c->before);
    json_decref(c->after);
    c->done(c->ctx, e ? NULL : p, e);
    free(c);
}

void place_set_properties(struct place *p, json_t *properties, place_done done, void *ctx)
{
    struct properties_change *c = xcalloc(1, sizeof *c);
    c->place = p;
    c->before = p->properties;
    c->after = json_incref(properties);
    c->done = done;
    c->ctx = ctx;
    p->properties = properties;
    place_row_put(p, on_properties_saved, c);
}

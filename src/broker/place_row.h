/* place_row.h - a topic's row: topic/<t>/<ns>/<local>. Private to place.c and place_row.c. Control
 * worker. */
#ifndef BROKER_PLACE_ROW_H
#define BROKER_PLACE_ROW_H

#include "broker/place.h"
#include "broker/topic.h"

/* Of most topics there are none: so they are apart. */
struct place_policies {
    struct rate_policy rate[RATE_KINDS]; /* what is durable, and in force */
    struct rate_policy row[RATE_KINDS];  /* what the next row says; differs while a change is
                                            written */
    uint64_t changes[RATE_KINDS];        /* of the row */
    /* The same of single subscriptions: each held. */
    struct sub_rates *of_sub, *of_sub_row;
    uint64_t of_sub_changes;
};
/* Made when first asked for. */
struct place_policies *place_policies(struct place *p);
void place_policies_free(struct place_policies *own); /* NULL is fine */
/* At the start: takes <r>. */
void place_restore_sub_rates(struct place *p, struct sub_rates *r);

/* All that apply to its topic: topic_rates_fini is the caller's. */
struct topic_rates place_rates(const struct place *p);

/* {"ledger":n,"created":ms,"properties":{},"publishRate":{},"subscriptions":{}} */
void place_row_put(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx);
void place_row_delete(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx);

#endif

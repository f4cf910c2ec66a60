/* sub_rates.h - the rates that a topic's policies set for single subscriptions, by their names;
 * those need not be there. A rate here goes before what the topic has for each of its
 * subscriptions.
 *
 * A table never changes: a change makes another one, so that topics on any worker read what they
 * were given. NULL is an empty one. Any thread. */
#ifndef BROKER_SUB_RATES_H
#define BROKER_SUB_RATES_H

#include <jansson.h>

#include "base/err.h"
#include "quota/policy.h"

struct sub_rates;

enum { SUB_RATES_MAX = 1000 }; /* of one topic: each change copies them and writes them all */

/* Not present where there is none. */
const struct rate_policy *sub_rates_find(const struct sub_rates *r, const char *name);
/* *out: <r> with <p> for <name>, or without one where <p> is not present; held once. <r> stays as
 * it is. TG_ELIMIT: that is one too many; *out is NULL. */
TG_MUSTCHECK enum tg_err sub_rates_with(const struct sub_rates *r, const char *name,
                                        const struct rate_policy *p, struct sub_rates **out);
struct sub_rates *sub_rates_hold(struct sub_rates *r);
void sub_rates_drop(struct sub_rates *r);

/* "subscriptions":{"<name>":{"dispatchRate":{}}}; nothing where there are none. */
void sub_rates_into_row(json_t *row, const struct sub_rates *r);
/* *out is held once. TG_ECORRUPT: it was logged, with <key>. */
TG_MUSTCHECK enum tg_err sub_rates_from_row(struct sub_rates **out, const json_t *row,
                                            const char *key);

#endif

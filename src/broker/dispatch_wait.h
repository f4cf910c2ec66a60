/* dispatch_wait.h - private to dispatch_*.c: a subscription's waiting for tokens, and the rates
 * that make it wait. */
#ifndef BROKER_DISPATCH_WAIT_H
#define BROKER_DISPATCH_WAIT_H

#include "broker/dispatch_limit.h"

struct shard;

/* ---- dispatch_wait.c ---- */

/* It does not wait yet. <next>: what its next entry costs. */
void dispatch_wait_alone(struct subscription *s, struct claim_amount next, int64_t now_ns);
void dispatch_stand_in_line(struct subscription *s, struct quota *lacking, struct claim_amount next,
                            int64_t now_ns);

/* It waits alone, and may be able to go on: at the turn's end it sends what it may, then it waits
 * for whatever is next. No-op for others. */
void dispatch_go_on(struct dispatch_limit *lim);
/* Made when they are first asked for. */
struct dispatch_limit *dispatch_limit_of(struct subscription *s);
struct topic_dispatch *topic_dispatch_of(struct topic *t);

/* ---- dispatch_read.c ---- */

void dispatch_drop_kept(struct dispatch_limit *lim);
/* This worker keeps no more than its part of what all may. */
bool dispatch_may_keep(const struct shard *s);

/* ---- dispatch_rates.c ---- */

/* A deadline, or when such a rate is to be looked at again. */
int64_t dispatch_follow_by(const struct rate_choice *rate, int64_t deadline_ns, int64_t now_ns);
/* Looks at it again, where it is time to. */
void dispatch_follow_topic(struct topic_dispatch *d, int64_t now_ns);
void dispatch_follow_own(struct dispatch_limit *lim, int64_t now_ns);

#endif

/* refusals.h - lines in the log about consumers that are refused. Clients that are refused come
 * again by themselves, in their thousands: so there are a few lines a second for each reason, then
 * one that says how many more there were. Part of a shard; its worker's. */
#ifndef BROKER_REFUSALS_H
#define BROKER_REFUSALS_H

#include "base/log.h"
#include "net/timer.h"

struct consumer;
struct shard;

enum refusal {
    REFUSED_OVER_RATE, /* subscribeRate */
    REFUSED_BLOCKED,
    REFUSED_TAKEN,  /* others have the subscription, or it is of another type */
    REFUSED_NO_SUB, /* it is not there, and is not made */
    REFUSED_FAILED, /* something did not work */
    REFUSALS,
};

struct refusals { /* zero-initialised */
    struct log_gate gate[REFUSALS];
    struct timer timer; /* armed while lines are kept back: for the one that says so */
};

/* <k> is refused the subscription <name>. */
void refusal_log(enum refusal why, const struct consumer *k, const char *name, const char *text);

#endif

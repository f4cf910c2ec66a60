/* consumer_opening.h - a SUBSCRIBE under way: what is needed to answer when the topic and the
 * subscription are there. Its consumer holds the id on the connection meanwhile; when that one is
 * closed first (by the client, or with the connection), no answer is given. Owner: the connection's
 * worker. */
#ifndef BROKER_CONSUMER_OPENING_H
#define BROKER_CONSUMER_OPENING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/subscription.h"

struct consumer_opening {
    struct consumer *consumer; /* NULL: nobody waits for the answer any more */
    uint64_t request_id;
    char *subscription;
    enum sub_type type;
    bool durable;
    bool existed;         /* the subscription was there before */
    enum sub_start start; /* of a new subscription */
    bool has_start_id;    /* start at this position, or behind it */
    uint64_t start_ledger, start_entry;
    uint64_t rollback_s; /* start that long ago; 0: not asked for */
    json_t *properties;  /* of the subscription; or NULL */
};

#endif

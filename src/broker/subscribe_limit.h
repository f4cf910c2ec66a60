/* subscribe_limit.h - how often one consumer may subscribe to a topic (subscribeRate): a bucket for
 * each consumer that came lately, known by its host, name and id, as in Pulsar.
 *
 * The names are the client's to choose: so what is remembered is bounded. A worker keeps the last
 * SUBSCRIBE_ATTEMPTS_MAX consumers that came to any of its topics, and forgets sooner who has all
 * its attempts again. Owner: the topic's worker. */
#ifndef BROKER_SUBSCRIBE_LIMIT_H
#define BROKER_SUBSCRIBE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "limiter/bucket.h"
#include "quota/policy.h"

enum { SUBSCRIBE_ATTEMPTS_MAX = 16384 }; /* some 2 MB */

/* A topic's; NULL: there is no limit. */
struct subscribe_limit {
    struct rate_choice rate;
    struct tg_bucket_params params;
    int64_t since_ns; /* these are in force */
    uint64_t refused; /* attempts, of all its consumers */
};

/* A worker's: zero-initialised it remembers nobody. */
struct subscribe_attempts {
    struct subscriber *map; /* private; in the order in which they came, the latest last */
    uint32_t count;
};

/* Puts <rate> in force at <*at>: what each consumer has left, or owes, stays. */
void subscribe_limit_set(struct subscribe_limit **at, const struct rate_choice *rate,
                         int64_t now_ns);
void subscribe_limit_free(struct subscribe_limit *l); /* NULL is fine */

/* An attempt to subscribe to <topic>, whose limit is <l> (NULL: none). True: it may, and is
 * charged; one that may not is only counted. <peer> is "host:port". */
bool subscribe_limit_admit(struct subscribe_limit *l, struct subscribe_attempts *a,
                           const char *topic, const char *peer, const char *consumer_name,
                           uint64_t consumer_id, int64_t now_ns);
void subscribe_attempts_fini(struct subscribe_attempts *a);

#endif

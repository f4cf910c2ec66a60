/* subscribe_limit.c - see subscribe_limit.h.
 *
 * Invariant: the map's order is that of the last attempts, so its first is the one to forget. Each
 * bucket has the parameters that were in force when it was last charged; where the limit has
 * changed since, it is retuned as of that moment, when its consumer comes. */
#include "broker/subscribe_limit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

enum { FORGOTTEN_PER_ATTEMPT = 2 }; /* so that the map shrinks while anybody comes */

struct subscriber {
    UT_hash_handle hh;
    uint64_t key; /* of topic, host, name and id: with a seed that clients don't know */
    struct tg_bucket bucket;
    struct tg_bucket_params params;
    int64_t all; /* attempts that a full bucket is */
};

/* ---- the limit ---- */

/* All that a period allows may come at once; so the burst is that, not a second's worth. */
static struct tg_bucket_params params_of(const struct tg_limit_spec *spec)
{
    return tg_bucket_params_make(spec->msgs.rate, tg_limit_period_ns(spec), spec->msgs.rate);
}

void subscribe_limit_set(struct subscribe_limit **at, const struct rate_choice *rate,
                         int64_t now_ns)
{
    struct subscribe_limit *l = *at;
    if (rate->spec.msgs.rate <= 0) {
        subscribe_limit_free(l);
        *at = NULL;
        return;
    }
    if (!l)
        l = *at = xcalloc(1, sizeof *l);
    if (!tg_limit_spec_equal(&l->rate.spec, &rate->spec)) {
        l->params = params_of(&rate->spec);
        l->since_ns = now_ns;
    }
    l->rate = *rate;
}

void subscribe_limit_free(struct subscribe_limit *l)
{
    free(l);
}

/* ---- who came ---- */

static uint64_t key_of(const char *topic, const char *peer, const char *name, uint64_t id)
{
    const char *port = strrchr(peer, ':');
    int host = port ? (int)(port - peer) : (int)strlen(peer);
    char *text = xasprintf("%s\n%.*s\n%" PRIu64 "\n%s", topic, host, peer, id, name);
    uint64_t key = XXH3_64bits_withSeed(text, strlen(text), map_seed());
    free(text);
    return key;
}

static void forget(struct subscribe_attempts *a, struct subscriber *s)
{
    HASH_DEL(a->map, s);
    a->count--;
    free(s);
}

/* Who has all its attempts again is as one that never came. */
static void forget_some(struct subscribe_attempts *a, int64_t now_ns)
{
    for (int i = 0; i < FORGOTTEN_PER_ATTEMPT && a->map; i++) {
        struct subscriber *oldest = a->map;
        if (tg_bucket_balance(&oldest->bucket, &oldest->params, now_ns) < oldest->all)
            return;
        forget(a, oldest);
    }
}

static struct subscriber *subscriber_new(struct subscribe_limit *l, struct subscribe_attempts *a,
                                         uint64_t key, int64_t now_ns)
{
    if (a->count >= SUBSCRIBE_ATTEMPTS_MAX)
        forget(a, a->map);
    struct subscriber *s = xcalloc(1, sizeof *s);
    s->key = key;
    s->params = l->params;
    s->all = l->rate.spec.msgs.rate;
    tg_bucket_init_part(&s->bucket, &s->params, 100, now_ns);
    return s;
}

/* The latest now; made, if need be. */
static struct subscriber *came(struct subscribe_limit *l, struct subscribe_attempts *a,
                               uint64_t key, int64_t now_ns)
{
    struct subscriber *s;
    forget_some(a, now_ns);
    HASH_FIND(hh, a->map, &key, sizeof key, s);
    if (s) {
        HASH_DEL(a->map, s);
    } else {
        s = subscriber_new(l, a, key, now_ns);
        a->count++;
    }
    HASH_ADD(hh, a->map, key, sizeof s->key, s);
    return s;
}

bool subscribe_limit_admit(struct subscribe_limit *l, struct subscribe_attempts *a,
                           const char *topic, const char *peer, const char *consumer_name,
                           uint64_t consumer_id, int64_t now_ns)
{
    if (!l)
        return true;
    struct subscriber *s = came(l, a, key_of(topic, peer, consumer_name, consumer_id), now_ns);
    if (memcmp(&s->params, &l->params, sizeof s->params) != 0) {
        tg_bucket_retune(&s->bucket, &s->params, &l->params, l->since_ns);
        s->params = l->params;
        s->all = l->rate.spec.msgs.rate;
    }
    /* A whole one: an attempt has no size that could only be known later. */
    if (tg_bucket_balance(&s->bucket, &s->params, now_ns) < 1) {
        l->refused++;
        return false;
    }
    tg_bucket_charge(&s->bucket, &s->params, 1, now_ns);
    return true;
}

void subscribe_attempts_fini(struct subscribe_attempts *a)
{
    while (a->map)
        forget(a, a->map);
}

/* quotas.h - the quotas of a broker: for each partitioned topic, namespace, tenant and resource
 * group, and for the broker itself, one of what is published and one of what is delivered, whether
 * or not a limit is set; and the letters between topics that wait for them and their home, the
 * control worker.
 *
 * Owner: the control worker, but for what says otherwise. */
#ifndef BROKER_QUOTAS_H
#define BROKER_QUOTAS_H

#include <stdatomic.h>

#include "broker/letter.h"
#include "broker/quota_watch.h"
#include "net/worker.h"
#include "quota/policy.h"
#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/home.h"

struct shard;
struct topic_line;

struct broker_quota {
    struct quota quota; /* first */
    struct timer timer; /* the home's for it */
    struct quotas *of;
    char *name;      /* the quota's */
    uint32_t chains; /* that have it (chain.h) */
    bool let_go;     /* its place is gone: it goes with the last of these */
    /* For workers, to tell what they may park: approximate. */
    _Atomic int64_t rate_msgs, rate_bytes, period_ns; /* 0: not limited */
    _Atomic uint32_t waiting;                         /* topics that wait for it */
    struct broker_quota *all_prev, *all_next;         /* quotas->all of its side */
    struct broker_quota *watch_prev, *watch_next;     /* quota_watch.c */
    bool is_watched;
    enum quota_usage usage; /* as last seen */
};

struct quotas {
    struct home home;
    struct shard *control;
    struct broker_quota *broker[LIMIT_SIDES]; /* the widest: in every chain */
    struct broker_quota *all[LIMIT_SIDES];    /* lists */
    struct quota_watch watch;
    bool ended; /* the workers have: who still waits is not waited for */
};

struct quotas *quotas_new(struct shard *control);
/* All topics are gone, and all other quotas. NULL is fine. */
void quotas_free(struct quotas *q);

/* Those of a place, one a side. */
void broker_quotas_new(struct broker_quota *out[LIMIT_SIDES], struct quotas *of,
                       enum scope_kind kind, const char *name);
/* Their place is gone: each is freed when no chain has it any more. */
void broker_quotas_let_go(struct broker_quota *q[LIMIT_SIDES]);
void broker_quota_left_chain(struct broker_quota *q); /* private to chain.c */
/* Puts the limit (unset: none) in force on every worker at once, for those who wait too. */
void broker_quota_set(struct broker_quota *q, const struct rate_policy *p,
                      enum limit_source source);
static inline struct broker_quota *broker_quota_of(struct quota *q)
{
    return (struct broker_quota *)q;
}

/* ---- a line's claim: on the topic's worker ---- */

struct topic_claim {
    struct claim claim; /* first */
    struct topic_line *line;
    struct shard *shard;
    struct envelope {
        struct letter letter; /* first */
        struct claim_letter *content;
    } envelope[CLAIM_LETTERS];
};

struct topic_claim *topic_claim_new(struct topic_line *line);
/* What is unspent goes home; then topic_claim_released is called, at once or later. */
void topic_claim_close(struct topic_claim *c);
/* The workers have ended, its topic is being freed: memory only. */
void topic_claim_drop(struct topic_claim *c);

#endif

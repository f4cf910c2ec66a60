/* registry.h - what the administrator made: clusters, tenants, namespaces, partitioned topics and
 * their policies. Kept in memory, read without waiting; every change is first made durable in the
 * metadata store and then applied, so that what is answered "done" survives a crash.
 *
 * Owner: worker 0 (the control worker); no other may look into it. Metadata keys, values are JSON:
 *   cluster/<c>  resourcegroup/<g>  tenant/<t>  namespace/<t>/<ns>  partitioned/<t>/<ns>/<local>
 *   dynamic/<setting>                 (registry_dynamic.c)
 *   block/<id>  block/last            (registry_blocks.c)
 *   topic/<t>/<ns>/<local>            (place_row.c)
 *   cursor/<t>/<ns>/<local>\n<sub>    (cursor_store.c) */
#ifndef BROKER_REGISTRY_H
#define BROKER_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "base/err.h"
#include "broker/names.h"
#include "broker/policy_json.h"
#include "broker/sub_rates.h"
#include "quota/policy.h"

struct block;
struct broker_quota;
struct chain;
struct group; /* group.h */
struct place;
struct registry;
struct settings;
struct shard;

struct cluster {
    char *name;
    json_t *doc; /* ClusterData as set */
    UT_hash_handle hh;
};

struct tenant {
    char *name;
    json_t *doc;                                  /* adminRoles, allowedClusters */
    struct rate_policy quota_policy[LIMIT_SIDES]; /* for all topics of its namespaces together */
    uint32_t namespaces;
    struct broker_quota *quota[LIMIT_SIDES]; /* which these are limits of */
    struct group *group;                     /* hung on it, or NULL */
    UT_hash_handle hh;
};

struct ns {
    char *name;                                   /* tenant/ns */
    struct tenant *tenant;                        /* gone perhaps, where is_gone */
    json_t *doc;                                  /* the rest of Policies as set: bundles, ... */
    struct rate_policy rate[RATE_KINDS];          /* for each topic below */
    struct rate_policy quota_policy[LIMIT_SIDES]; /* for all topics below together */
    struct broker_quota *quota[LIMIT_SIDES];      /* which these are limits of */
    struct group *group;                          /* hung on it, or NULL */
    struct chain *chain;                          /* of its topics but for partitions */
    struct place *places;                         /* list of its topics, see place.h */
    uint32_t topic_count;                         /* also of those being made or deleted */
    bool is_gone; /* deleted, in no map: freed with the last place that is ENDING */
    UT_hash_handle hh;
};

struct partitioned {
    char *name; /* persistent://t/ns/local */
    struct ns *ns;
    int partitions;
    json_t *properties;
    struct rate_policy rate[RATE_KINDS];          /* of each partition that has none of its own */
    struct sub_rates *sub_rates;                  /* of single subscriptions of each partition */
    struct rate_policy quota_policy[LIMIT_SIDES]; /* for all partitions together */
    struct broker_quota *quota[LIMIT_SIDES];      /* which these are limits of */
    struct chain *chain;                          /* of its partitions */
    UT_hash_handle hh;
};

/* How an asynchronous change ended. TG_EEXIST, TG_ENOENT, TG_EBUSY (not empty), TG_EIO... */
typedef void (*registry_done)(void *ctx, enum tg_err e);

struct registry *registry_new(struct shard *control);
void registry_free(struct registry *r);

/* Reads everything, makes the standalone defaults where missing (cluster, tenants public and
 * pulsar, namespaces public/default and pulsar/system), instantiates all topics with their cursors
 * (place_restore), then calls <done>. */
void registry_load(struct registry *r, registry_done done, void *ctx);

struct cluster *registry_cluster(struct registry *r, const char *name);
struct tenant *registry_tenant(struct registry *r, const char *name);
struct ns *registry_ns(struct registry *r, const char *name); /* "t/ns" */
struct partitioned *registry_partitioned(struct registry *r, const char *full_name);
/* First of each map; walk with hh.next. */
struct cluster *registry_clusters(struct registry *r);
struct tenant *registry_tenants(struct registry *r);
struct ns *registry_namespaces(struct registry *r);
struct partitioned *registry_all_partitioned(struct registry *r);

/* ---- changes: carried out one after the other, in the order asked for. <done> is always called,
 * later; at once only with TG_EBUSY, when too many wait. registry_free ends them with TG_ECLOSED.
 * ---- */
void registry_put_cluster(struct registry *r, const char *name, json_t *doc, registry_done done,
                          void *ctx);
void registry_delete_cluster(struct registry *r, const char *name, registry_done done, void *ctx);
/* <is_new>: it must not exist (else TG_EEXIST), or must (else TG_ENOENT). Borrows <doc>. */
void registry_put_tenant(struct registry *r, const char *name, json_t *doc, bool is_new,
                         registry_done done, void *ctx);
void registry_delete_tenant(struct registry *r, const char *name, registry_done done, void *ctx);
void registry_create_ns(struct registry *r, const char *name, json_t *doc, registry_done done,
                        void *ctx);
void registry_delete_ns(struct registry *r, const char *name, registry_done done, void *ctx);
/* NULL removes the policy. Applied to every topic of the namespace (place_apply_policies). */
void registry_set_ns_rate(struct registry *r, struct ns *ns, enum rate_kind kind,
                          const struct rate_policy *p, registry_done done, void *ctx);
/* NULL removes it. */
void registry_set_ns_quota(struct registry *r, struct ns *ns, enum limit_side side,
                           const struct rate_policy *p, registry_done done, void *ctx);
void registry_set_tenant_quota(struct registry *r, struct tenant *t, enum limit_side side,
                               const struct rate_policy *p, registry_done done, void *ctx);

/* Who asks for the changes that are submitted from now on: an administrator's address. NULL: the
 * broker itself. */
void registry_set_author(struct registry *r, const char *who);
const char *registry_author(const struct registry *r);

/* ---- blocks (block.h) ---- */

/* The first; walk with next. */
const struct block *registry_blocks(const struct registry *r);       /* list, by id */
struct block *registry_block(const struct registry *r, uint64_t id); /* NULL: none */
/* Takes <b>; takes the place of one with that kind and name. *id is its id when <done> is called
 * with TG_OK: it is in force everywhere then. TG_ELIMIT: BLOCKS_MAX stand. */
void registry_add_block(struct registry *r, struct block *b, uint64_t *id, registry_done done,
                        void *ctx);
/* TG_ENOENT. */
void registry_remove_block(struct registry *r, uint64_t id, registry_done done, void *ctx);

/* Makes the metadata and the partitions 0..n-1 themselves. TG_ENOENT: no such namespace; TG_EEXIST:
 * a topic or partitioned topic of that name; TG_ERANGE: the name leaves no room for its
 * partitions'; TG_ELIMIT: too many topics. */
void registry_create_partitioned(struct registry *r, const struct topic_name *n, int partitions,
                                 json_t *properties, registry_done done, void *ctx);
/* TG_ENOENT: no partitioned topic; TG_ERANGE: it would shrink. */
void registry_grow_partitioned(struct registry *r, const struct topic_name *n, int partitions,
                               registry_done done, void *ctx);
/* Deletes metadata and partitions. TG_EBUSY: a partition has producers or consumers (unless
 * <force>). */
void registry_delete_partitioned(struct registry *r, const struct topic_name *n, bool force,
                                 registry_done done, void *ctx);
void registry_set_partitioned_quota(struct registry *r, struct partitioned *p, enum limit_side side,
                                    const struct rate_policy *policy, registry_done done,
                                    void *ctx);
void registry_set_partitioned_rate(struct registry *r, struct partitioned *p, enum rate_kind kind,
                                   const struct rate_policy *policy, registry_done done, void *ctx);
/* For one subscription of each partition. TG_ELIMIT: SUB_RATES_MAX have one. */
void registry_set_partitioned_sub_rate(struct registry *r, struct partitioned *p,
                                       const char *subscription, const struct rate_policy *policy,
                                       registry_done done, void *ctx);
/* Sets those in <set> and takes out the one named <remove>; each may be NULL. Borrows both. */
void registry_change_partitioned_properties(struct registry *r, struct partitioned *p, json_t *set,
                                            const char *remove, registry_done done, void *ctx);

/* ---- settings that change while the broker runs: those that settings_is_dynamic ---- */

/* The broker's default rate of that kind: present where one is set. */
struct rate_policy settings_rate(const struct settings *s, enum rate_kind kind);
/* The settings in force: of what is dynamic the broker's own (broker->settings) has only what
 * broker.conf says. */
const struct settings *registry_settings(const struct registry *r);
/* Those that were changed: an object of name -> value, as set. */
const json_t *registry_dynamic(const struct registry *r);
/* Whether it can be set so; <value> NULL: whether it can be taken back. TG_EUNSUPPORTED: not a
 * dynamic setting; TG_EINVAL, TG_ERANGE; with *why (caller frees). */
TG_MUSTCHECK enum tg_err registry_check_dynamic(const struct registry *r, const char *name,
                                                const char *value, char **why);
/* NULL: back to what broker.conf says. It was checked. */
void registry_set_dynamic(struct registry *r, const char *name, const char *value,
                          registry_done done, void *ctx);

/* A namespace's policies of that kind, by cluster: those of other clusters as they were set. */
json_t *ns_policies_by_cluster(const struct ns *n, enum rate_kind k, const char *cluster);

#endif

/* registry_priv.h - what the registry's files share. Not for others.
 *
 * All changes stand in one queue and are carried out one at a time: two changes of one object never
 * overlap, nor does a deletion overlap what is made inside it. Administration is rare; a change
 * costs one or two commits of the metadata store. */
#ifndef BROKER_REGISTRY_PRIV_H
#define BROKER_REGISTRY_PRIV_H

#include "broker/broker.h"
#include "broker/place.h"
#include "broker/registry.h"
#include "net/worker.h"

/* Waiting changes; more are refused (TG_EBUSY). Well over what the admin port lets in at once. */
enum { REGISTRY_CHANGES_MAX = 4096 };

struct change {
    struct change *next;
    struct registry *registry;
    void (*begin)(struct change *c);                 /* its turn has come */
    void (*stored)(struct change *c, enum tg_err e); /* its row was written or deleted */
    registry_done done;
    void *ctx;
    /* what is wanted; what a kind of change doesn't use is empty */
    char *name;
    json_t *doc;
    struct rate_policy policy;
    enum rate_kind rate_kind;
    enum limit_side side;
    struct sub_rates *sub_rates; /* held */
    struct topic_name topic;
    int partitions;
    bool is_new, force;
    struct block *block;
    uint64_t id, *id_out; /* of a block */
    bool only_if_ended;
    char *by; /* who asked for it (registry_set_author); NULL: nobody, the broker itself */
    /* while it runs */
    int next_one, end; /* partitions still to be seen to */
    int pending;
    enum tg_err first_error;
    struct ns *leaving; /* out of its map until its row is gone */
    struct partitioned *leaving_partitioned;
};

struct registry {
    struct timer pump; /* first: its callback finds the registry by it. Begins the next change */
    struct shard *shard;
    struct settings settings; /* the broker's, but for what is dynamic; its texts are borrowed */
    json_t *dynamic;          /* name -> value: what was changed while running */
    struct cluster *clusters;
    struct group *groups;
    struct tenant *tenants;
    struct ns *namespaces;
    struct partitioned *partitioned;
    struct place *places;       /* map by name: place.c */
    struct change *head, *tail; /* waiting */
    struct change *current;     /* being carried out */
    uint32_t waiting;
    char *author;         /* of the request being handled */
    struct block *blocks; /* list: registry_blocks.c */
    uint32_t block_count;
    uint64_t last_block;      /* the highest id that was ever given */
    struct timer block_timer; /* the next one that ends */
    bool ending_block;
    struct load *load;              /* while registry_load runs */
    bool (*step)(struct change *c); /* the current change's: change_in_steps */
    struct timer step_timer;
    struct {                   /* registry_limits.c: topics are being given what a change says */
        struct ns *ns;         /* its topics; NULL: all */
        struct tenant *tenant; /* only topics of it; NULL: all */
        struct place *at;      /* the next one */
    } round;
};

/* ---- limits of many topics (registry_limits.c) ---- */

/* <p> goes: no round may stand at it. */
void round_skip(struct registry *r, const struct place *p);
/* The last step of a change: puts in force what applies to each topic of <ns>, of <tenant>, or
 * (both NULL) of the broker now, then ends the change. */
void change_apply_to_all(struct change *c, struct ns *ns, struct tenant *tenant);
/* A quota's policy is stored: it is told, and taken into <policy>; putting it in force follows.
 */
void quota_change_stored(struct change *c, const char *kind, const char *name,
                         struct rate_policy policy[LIMIT_SIDES]);
/* Put a quota in force: after the load, when its place is made, and after each change. */
void broker_apply_quota(struct registry *r);
void tenant_apply_quota(struct tenant *t);
void ns_apply_quota(struct ns *n);
void partitioned_apply_quota(struct partitioned *p);

/* ---- resource groups (registry_groups.c) ---- */

/* Takes <doc>'s policy into force; borrows it. */
struct group *registry_add_group(struct registry *r, const char *name, json_t *doc);
void group_free(struct group *g);
/* In memory; the chains of what is below are made anew. <g> NULL: none. */
void ns_hang(struct registry *r, struct ns *n, struct group *g);
void tenant_hang(struct registry *r, struct tenant *t, struct group *g);
/* Of the namespace and its partitioned topics, as they are to be now. */
void ns_make_chains(struct registry *r, struct ns *n);

/* At the start: from its row. TG_ECORRUPT: no value that is allowed. */
TG_MUSTCHECK enum tg_err dynamic_restore(struct registry *r, const char *name, const json_t *row);

/* An event: the policy, or setting, of <kind> <name> is now <to>, by whoever asked for the change
 * under way. Nothing when both are the same. */
void registry_limit_changed(struct registry *r, const char *by, const char *kind, const char *name,
                            const struct policy_form *policy, const struct rate_policy *from,
                            const struct rate_policy *to);
/* The same of a rate of one subscription. */
void registry_sub_limit_changed(struct registry *r, const char *by, const char *topic,
                                const char *subscription, const struct rate_policy *from,
                                const struct rate_policy *to);

/* ---- blocks (registry_blocks.c) ---- */

void registry_blocks_init(struct registry *r);
void registry_blocks_free(struct registry *r);
/* At the start: from its row. */
TG_MUSTCHECK enum tg_err block_restore(struct registry *r, const char *key, const json_t *row);
/* At the start, when all rows have been read: puts them in force, before any client comes. */
void registry_blocks_start(struct registry *r, void (*done)(void *ctx, enum tg_err e), void *ctx);

/* Takes <name> (may be NULL); borrows <doc>. */
struct change *change_new(struct registry *r, void (*begin)(struct change *c), char *name,
                          json_t *doc, registry_done done, void *ctx);
void change_submit(struct change *c);
void change_end(struct change *c, enum tg_err e);
/* Carries it out in steps, one a turn, so that nobody's messages wait. <step> says whether there is
 * more; what waits for it ends the change. */
void change_in_steps(struct change *c, bool (*step)(struct change *c));
/* Writes or deletes a row; c->stored follows. <row> is taken. */
void change_put_row(struct change *c, const char *key, json_t *row, int64_t expected,
                    void (*stored)(struct change *c, enum tg_err e));
void change_delete_row(struct change *c, const char *key,
                       void (*stored)(struct change *c, enum tg_err e));

/* Into and out of memory; each frees or takes what it says by its name. */
struct cluster *registry_add_cluster(struct registry *r, const char *name, json_t *doc);
struct tenant *registry_add_tenant(struct registry *r, const char *name, json_t *doc);
struct ns *registry_add_ns(struct registry *r, struct tenant *t, const char *name, json_t *doc);
struct partitioned *registry_add_partitioned(struct registry *r, struct ns *ns, const char *name,
                                             int partitions, json_t *properties);
void partitioned_free(struct partitioned *p);
/* When it has been deleted and has no places any more. */
void ns_free_if_gone(struct ns *n);

/* What is to be stored of it: its document, limits and group. Where a change is to be written
 * first, of a copy that has it. And its limits out of its row; TG_ECORRUPT: it was logged, with
 * <key>. (registry_rows.c.)
 * {"adminRoles":[...],"allowedClusters":[...],"publishQuota":{...},"resourceGroup":"g"} */
json_t *tenant_row(const struct tenant *t);
/* Leaves of the row what is no limit. */
TG_MUSTCHECK enum tg_err tenant_policies_from_row(struct rate_policy quota[LIMIT_SIDES],
                                                  json_t *row, const char *key);
/* {"policies":{"topicDispatchRate":{"<cluster>":{...}},...},"publishRate":{...},
 *  "publishQuota":{...},"resourceGroup":"g"} */
json_t *ns_row(const struct ns *n, const char *cluster);
/* Its document is the row's already. */
TG_MUSTCHECK enum tg_err ns_policies_from_row(struct ns *n, const json_t *row, const char *cluster,
                                              const char *key);
/* {"partitions":n,"properties":{...},"publishRate":{...},"publishQuota":{...}} */
json_t *partitioned_row(const struct partitioned *p);
TG_MUSTCHECK enum tg_err partitioned_policies_from_row(struct partitioned *p, const json_t *row,
                                                       const char *key);
/* Writes the row of what c->name is to be; c->stored follows. */
void change_put_tenant(struct change *c, const struct tenant *next, int64_t expected,
                       void (*stored)(struct change *c, enum tg_err e));
void change_put_ns(struct change *c, const struct ns *next, int64_t expected,
                   void (*stored)(struct change *c, enum tg_err e));
char *partitioned_key(const char *full_name);
/* persistent://t/ns/x-partition-<i> of a partitioned topic that exists; fini it. */
void partition_name(struct topic_name *out, const char *full_name, int i);

#endif

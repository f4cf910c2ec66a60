/* registry_load.c - the start: rows into memory, the standalone defaults, and what a crash left
 * half done put right.
 *
 * Order: settings, clusters, resource groups, tenants, namespaces, partitioned topics, topics,
 * cursors; then defaults, then partitions that are missing, then policies, trimming, and ledgers
 * that no topic has.
 *
 * A row of an unknown kind is kept and logged. One that should be understood and is not stops the
 * start: going on without a topic or a cursor would throw away what they keep. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/group.h"
#include "broker/registry_priv.h"
#include "broker/subscription.h"
#include "broker/topic.h"

struct load {
    struct registry *registry;
    registry_done done;
    void *ctx;
    int pending;
    enum tg_err first_error;
    bool keep_ledgers; /* a topic could not be placed: its ledger may be any of them */
};

struct row_kind {
    const char *prefix;
    /* <rest>: the key behind the prefix. */
    enum tg_err (*read)(struct load *l, const char *key, const char *rest, json_t *doc);
};

/* ---- rows ---- */

static enum tg_err read_cluster(struct load *l, const char *key, const char *rest, json_t *doc)
{
    (void)key;
    registry_add_cluster(l->registry, rest, doc);
    return TG_OK;
}

static enum tg_err read_dynamic(struct load *l, const char *key, const char *rest, json_t *doc)
{
    (void)key;
    return dynamic_restore(l->registry, rest, doc);
}

static enum tg_err read_block(struct load *l, const char *key, const char *rest, json_t *doc)
{
    (void)rest;
    return block_restore(l->registry, key, doc);
}

static enum tg_err read_group(struct load *l, const char *key, const char *rest, json_t *row)
{
    json_t *doc;
    char *why = NULL;
    enum tg_err e = group_doc_read(row, &doc, &why);
    if (e == TG_OK && (e = group_doc_check(doc, &why)) == TG_OK)
        registry_add_group(l->registry, rest, doc);
    if (e != TG_OK)
        log_error("metadata row %s: %s", key, why);
    json_decref(doc);
    free(why);
    return e == TG_OK ? TG_OK : TG_ECORRUPT;
}

/* The group that a row names, or NULL where it names none. Going on without one that is not there
 * would be going on without a limit. */
static TG_MUSTCHECK enum tg_err read_hung(struct load *l, const char *key, const json_t *row,
                                          struct group **out)
{
    const json_t *name = json_object_get(row, "resourceGroup");
    *out = json_is_string(name) ? registry_group(l->registry, json_string_value(name)) : NULL;
    if (name == NULL || *out != NULL)
        return TG_OK;
    log_error("metadata row %s: resourceGroup is none that there is", key);
    return TG_ECORRUPT;
}

static enum tg_err read_tenant(struct load *l, const char *key, const char *rest, json_t *doc)
{
    struct rate_policy quota[LIMIT_SIDES];
    struct group *group;
    enum tg_err e = read_hung(l, key, doc, &group);
    if (e == TG_OK)
        e = tenant_policies_from_row(quota, doc, key);
    if (e != TG_OK)
        return e;
    struct tenant *t = registry_add_tenant(l->registry, rest, doc);
    memcpy(t->quota_policy, quota, sizeof quota);
    tenant_hang(l->registry, t, group);
    return TG_OK;
}

static enum tg_err read_ns(struct load *l, const char *key, const char *rest, json_t *doc)
{
    struct group *group;
    enum tg_err e = read_hung(l, key, doc, &group);
    if (e != TG_OK)
        return e;
    const char *slash = strchr(rest, '/');
    struct tenant *t = NULL;
    if (slash != NULL)
        HASH_FIND(hh, l->registry->tenants, rest, (size_t)(slash - rest), t);
    json_t *policies = json_object_get(doc, "policies");
    if (t == NULL || (policies != NULL && !json_is_object(policies)))
        return TG_ECORRUPT;
    struct ns *n = registry_add_ns(l->registry, t, rest, policies);
    ns_hang(l->registry, n, group);
    return ns_policies_from_row(n, doc, l->registry->settings.cluster_name, key);
}

/* The full name of what a key is about; fini it. */
static TG_MUSTCHECK enum tg_err parse_rest(struct topic_name *out, const char *rest, size_t len)
{
    char *full = xasprintf("persistent://%.*s", (int)len, rest);
    const char *why;
    enum tg_err e = topic_name_parse(out, full, &why);
    free(full);
    return e == TG_OK ? TG_OK : TG_ECORRUPT;
}

static enum tg_err read_partitioned(struct load *l, const char *key, const char *rest, json_t *doc)
{
    struct topic_name n;
    enum tg_err e = parse_rest(&n, rest, strlen(rest));
    if (e != TG_OK)
        return e;
    struct ns *ns = registry_ns(l->registry, n.ns);
    json_t *properties = json_object_get(doc, "properties");
    json_int_t partitions = json_integer_value(json_object_get(doc, "partitions"));
    if (ns == NULL || partitions < 1 || partitions > INT32_MAX) {
        e = TG_ECORRUPT;
    } else {
        struct partitioned *p =
            registry_add_partitioned(l->registry, ns, n.full, (int)partitions, properties);
        e = partitioned_policies_from_row(p, doc, key);
    }
    topic_name_fini(&n);
    return e;
}

static enum tg_err read_topic(struct load *l, const char *key, const char *rest, json_t *doc)
{
    struct topic_name n;
    enum tg_err e = parse_rest(&n, rest, strlen(rest));
    if (e != TG_OK)
        return e;
    if (registry_ns(l->registry, n.ns) == NULL) {
        log_error("metadata row %s: its namespace does not exist; kept, not served", key);
        l->keep_ledgers = true;
    } else {
        e = place_restore(l->registry, &n, doc);
    }
    topic_name_fini(&n);
    return e;
}

/* A cursor whose topic is gone was about to be deleted with it. Left there, it would become the
 * cursor of a later topic of that name. */
static enum tg_err read_cursor(struct load *l, const char *key, const char *rest, json_t *doc)
{
    const char *end = strchr(rest, '\n');
    struct topic_name n;
    enum tg_err e = end != NULL ? parse_rest(&n, rest, (size_t)(end - rest)) : TG_ECORRUPT;
    if (e != TG_OK)
        return e;
    struct topic *t = topic_find(l->registry->shard, n.full);
    if (t != NULL) {
        e = subscription_restore(t, end + 1, doc);
    } else if (!l->keep_ledgers) {
        log_info("topic %s: is gone; its subscription %s goes too", n.full, end + 1);
        ms_delete(l->registry->shard->meta, key, MS_ANY, NULL, NULL);
    }
    topic_name_fini(&n);
    return e;
}

/* In the order in which they need each other. */
static const struct row_kind kinds[] = {
    {"dynamic/", read_dynamic}, {"cluster/", read_cluster}, {"resourcegroup/", read_group},
    {"tenant/", read_tenant},   {"namespace/", read_ns},    {"partitioned/", read_partitioned},
    {"topic/", read_topic},     {"cursor/", read_cursor},   {"block/", read_block},
};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char own_prefix[] = "broker/"; /* broker.c's */

static const struct row_kind *kind_of(const char *key)
{
    for (int i = 0; i < KINDS; i++)
        if (strncmp(key, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return &kinds[i];
    return NULL;
}

static TG_MUSTCHECK enum tg_err read_row(struct load *l, const struct row_kind *k,
                                         const struct ms_item *item)
{
    json_error_t problem;
    json_t *doc = json_loadb(item->value, item->len, 0, &problem);
    if (doc == NULL || !json_is_object(doc)) {
        log_error("metadata row %s: not a JSON object%s%s", item->key, doc != NULL ? "" : ": ",
                  doc != NULL ? "" : problem.text);
        json_decref(doc);
        return TG_ECORRUPT;
    }
    enum tg_err e = k->read(l, item->key, item->key + strlen(k->prefix), doc);
    json_decref(doc);
    if (e != TG_OK)
        log_error("metadata row %s: can't be used: %s", item->key, err_text(e));
    return e;
}

static TG_MUSTCHECK enum tg_err read_rows(struct load *l, const struct ms_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (kind_of(items[i].key) == NULL &&
            strncmp(items[i].key, own_prefix, sizeof own_prefix - 1) != 0)
            log_warn("metadata row %s: unknown kind; kept", items[i].key);
    for (int k = 0; k < KINDS; k++)
        for (size_t i = 0; i < count; i++)
            if (kind_of(items[i].key) == &kinds[k]) {
                enum tg_err e = read_row(l, &kinds[k], &items[i]);
                if (e != TG_OK)
                    return e;
            }
    return TG_OK;
}

/* ---- ledgers that no topic has: their topic was deleted, their space was not given back ---- */

struct ledger_list {
    uint64_t *id;
    size_t count, cap;
};

static void ledger_list_add(void *ctx, uint64_t id)
{
    struct ledger_list *l = ctx;
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 64;
        l->id = xrealloc(l->id, l->cap * sizeof *l->id);
    }
    l->id[l->count++] = id;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static TG_MUSTCHECK enum tg_err drop_orphans(struct registry *r)
{
    struct ledger_list known = {0}, stored = {0};
    for (struct place *p = r->places; p != NULL; p = p->hh.next)
        ledger_list_add(&known, p->ledger);
    if (known.count > 0)
        qsort(known.id, known.count, sizeof *known.id, by_id);
    enum tg_err e = ls_each_ledger(r->shard->broker->ledgers, ledger_list_add, &stored);
    size_t dropped = 0;
    for (size_t i = 0; e == TG_OK && i < stored.count; i++) {
        if (known.count > 0 &&
            bsearch(&stored.id[i], known.id, known.count, sizeof *known.id, by_id) != NULL)
            continue;
        ls_drop(r->shard->log, stored.id[i]);
        dropped++;
    }
    if (dropped > 0)
        log_info("store: %zu ledgers belong to no topic: dropped", dropped);
    free(known.id);
    free(stored.id);
    return e;
}

/* ---- the steps ---- */

static void finish(struct load *l, enum tg_err e)
{
    struct registry *r = l->registry;
    registry_done done = l->done;
    void *ctx = l->ctx;
    r->load = NULL;
    free(l);
    done(ctx, e);
}

static void on_blocks(void *ctx, enum tg_err e)
{
    if (e != TG_ECLOSED) /* else the broker stops: registry_free frees the load */
        finish(ctx, e);
}

static void settle(struct load *l)
{
    struct registry *r = l->registry;
    for (struct topic *t = r->shard->topics; t != NULL; t = t->hh.next)
        topic_trim(t);
    broker_apply_quota(r);
    flight_limit_set(r->shard->broker, &r->settings);
    for (struct tenant *t = r->tenants; t != NULL; t = t->hh.next)
        tenant_apply_quota(t);
    for (struct ns *n = r->namespaces; n != NULL; n = n->hh.next)
        ns_apply_quota(n);
    for (struct partitioned *p = r->partitioned; p != NULL; p = p->hh.next)
        partitioned_apply_quota(p);
    enum tg_err e = TG_OK;
    if (l->keep_ledgers)
        log_warn("store: ledgers that no topic has are kept, since a topic is not served");
    else
        e = drop_orphans(r);
    log_info("metadata: %u tenants, %u namespaces, %u topics", HASH_COUNT(r->tenants),
             HASH_COUNT(r->namespaces), places_count(r));
    if (e == TG_OK)
        registry_blocks_start(r, on_blocks, l);
    else
        finish(l, e);
}

/* Counts one step's parts; the last one ends the step. True when it has ended well. */
static bool part_ended(struct load *l, enum tg_err e)
{
    if (e != TG_OK && l->first_error == TG_OK)
        l->first_error = e;
    if (--l->pending > 0)
        return false;
    if (l->first_error != TG_OK)
        finish(l, l->first_error);
    else
        return true;
    return false;
}

static void on_partition_made(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
    if (part_ended(ctx, e))
        settle(ctx);
}

static void make_missing_partitions(struct load *l)
{
    struct registry *r = l->registry;
    l->pending = 1;
    for (struct partitioned *p = r->partitioned; p != NULL; p = p->hh.next) {
        for (int i = 0; i < p->partitions; i++) {
            struct topic_name n;
            partition_name(&n, p->name, i);
            if (place_find(r, n.full) == NULL) {
                log_info("topic %s: was missing; made", n.full);
                l->pending++;
                place_create(r, &n, NULL, NULL, on_partition_made, l);
            }
            topic_name_fini(&n);
        }
    }
    if (part_ended(l, TG_OK))
        settle(l);
}

static void on_default_made(void *ctx, enum tg_err e)
{
    if (part_ended(ctx, e))
        make_missing_partitions(ctx);
}

static void make_defaults(struct load *l)
{
    static const char *const tenants[] = {"public", "pulsar"};
    static const char *const namespaces[] = {"public/default", "pulsar/system"};
    struct registry *r = l->registry;
    const char *cluster = r->shard->broker->settings->cluster_name;
    l->pending = 1;
    if (registry_cluster(r, cluster) == NULL) { /* its addresses: as bound, see clusters_get */
        json_t *doc = json_object();
        l->pending++;
        registry_put_cluster(r, cluster, doc, on_default_made, l);
        json_decref(doc);
    }
    for (int i = 0; i < 2; i++) {
        if (registry_tenant(r, tenants[i]) != NULL)
            continue;
        json_t *doc = json_pack("{s:[],s:[s]}", "adminRoles", "allowedClusters", cluster);
        l->pending++;
        registry_put_tenant(r, tenants[i], doc, true, on_default_made, l);
        json_decref(doc);
    }
    for (int i = 0; i < 2; i++) {
        if (registry_ns(r, namespaces[i]) != NULL)
            continue;
        l->pending++;
        registry_create_ns(r, namespaces[i], NULL, on_default_made, l);
    }
    if (part_ended(l, TG_OK))
        make_missing_partitions(l);
}

static void on_listed(void *ctx, enum tg_err e, const struct ms_item *items, size_t count)
{
    struct load *l = ctx;
    if (e == TG_OK)
        e = read_rows(l, items, count);
    if (e != TG_OK)
        finish(l, e);
    else
        make_defaults(l);
}

void registry_load(struct registry *r, registry_done done, void *ctx)
{
    TG_ASSERT(r->load == NULL);
    struct load *l = xcalloc(1, sizeof *l);
    *l = (struct load){.registry = r, .done = done, .ctx = ctx};
    r->load = l;
    ms_list(r->shard->meta, "", on_listed, l);
}

/* res.h - the REST resources: one handler per route, and what they share. All of it runs on the
 * control worker; what must be seen or done at a topic goes to its worker (part.h, broker/walk.h).
 */
#ifndef ADMIN_RES_H
#define ADMIN_RES_H

#include "admin/call.h"
#include "broker/place.h"
#include "broker/registry.h"
#include "broker/subscription.h"
#include "broker/topic.h"

/* ---- shared (res.c). Those that return NULL or false have answered the call. ---- */

struct registry *res_registry(struct call *c);
/* "{tenant}/{ns}": 404 with <missing> when it does not exist. */
struct ns *res_ns(struct call *c, const char *missing);
/* Fills c->topic from the path: 412 for a bad name, 405 for a non-persistent one. */
bool res_topic_name(struct call *c);
/* The topic of the path, ready: 404 "Topic ... not found". */
struct place *res_place(struct call *c);
/* Partition <i> of <p>, ready, or NULL. */
struct place *res_partition(struct call *c, const struct partitioned *p, int i);
/* The names of a namespace's topics; system topics only when ?includeSystemTopic=true. */
json_t *res_topic_names(struct call *c, const struct ns *n);
void res_no_topic(struct call *c); /* answers 404 "Topic ... not found" */

/* ---- JSON (stats_json.c): on the topic's worker, but for what is of partitioned topics ---- */
struct stats_options {
    bool exclude_publishers, exclude_consumers;
};
json_t *stats_of_topic(struct topic *t, const struct stats_options *o);
json_t *metadata_of_partitioned(const struct partitioned *p);
/* Sums of <each> (topic -> stats), with <metadata>; <per_partition>: with each of them below
 * "partitions". Borrows both. Any thread. */
json_t *stats_of_partitioned(json_t *metadata, json_t *each, bool per_partition);
json_t *stats_internal(struct topic *t);
json_t *json_iso_time(int64_t wall_ns); /* "2026-01-31T12:00:00.123Z" */
json_t *json_message_id(const struct topic *t, int64_t entry);

/* ---- handlers ---- */
void clusters_list(struct call *c);
void clusters_get(struct call *c);
void clusters_create(struct call *c);
void clusters_update(struct call *c);
void clusters_delete(struct call *c);

void tenants_list(struct call *c);
void tenants_get(struct call *c);
void tenants_create(struct call *c);
void tenants_update(struct call *c);
void tenants_delete(struct call *c);

void namespaces_list(struct call *c);
void namespaces_get(struct call *c);
void namespaces_create(struct call *c);
void namespaces_delete(struct call *c);
void namespaces_topics(struct call *c);
void namespaces_bundles(struct call *c);
void namespaces_replication(struct call *c);
void permissions_refuse(struct call *c);

void policies_ns_rate_get(struct call *c);
void policies_ns_rate_set(struct call *c);
void policies_ns_rate_delete(struct call *c);
void policies_ns_quota_get(struct call *c);
void policies_ns_quota_set(struct call *c);
void policies_ns_quota_delete(struct call *c);
void policies_tenant_quota_get(struct call *c);
void policies_tenant_quota_set(struct call *c);
void policies_tenant_quota_delete(struct call *c);
void policies_topic_quota_get(struct call *c);
void policies_topic_quota_set(struct call *c);
void policies_topic_quota_delete(struct call *c);
void policies_topic_rate_get(struct call *c);
void policies_topic_rate_set(struct call *c);
void policies_topic_rate_delete(struct call *c);
void policies_sub_rate_get(struct call *c);
void policies_sub_rate_set(struct call *c);
void policies_sub_rate_delete(struct call *c);

void groups_list(struct call *c);
void groups_get(struct call *c);
void groups_put(struct call *c);
void groups_delete(struct call *c);
void groups_ns_get(struct call *c);
void groups_ns_set(struct call *c);
void groups_ns_delete(struct call *c);
void groups_tenant_get(struct call *c);
void groups_tenant_set(struct call *c);
void groups_tenant_delete(struct call *c);

void topics_list(struct call *c);
void topics_list_partitioned(struct call *c);
void topics_create(struct call *c);
void topics_delete(struct call *c);
void topics_unload(struct call *c);
void topics_stats(struct call *c);
void topics_partitioned_stats(struct call *c);
void topics_internal_stats(struct call *c);
void topics_partitioned_internal_stats(struct call *c);
void topics_last_message_id(struct call *c);
void topics_properties_get(struct call *c);
void topics_properties_set(struct call *c);
void topics_properties_delete(struct call *c);

void partitions_get(struct call *c);
void partitions_create(struct call *c);
void partitions_grow(struct call *c);
void partitions_delete(struct call *c);

void subscriptions_list(struct call *c);
void subscriptions_create(struct call *c);
void subscriptions_delete(struct call *c);
void subscriptions_skip(struct call *c);
void subscriptions_skip_all(struct call *c);
void subscriptions_reset_to_time(struct call *c);
void subscriptions_reset_to_id(struct call *c);

void brokers_list(struct call *c);
void brokers_leader(struct call *c);
void brokers_health(struct call *c);
void brokers_ready(struct call *c);
void brokers_version(struct call *c);
void brokers_dynamic_names(struct call *c);
void brokers_dynamic_values(struct call *c);
void brokers_dynamic_set(struct call *c);
void brokers_dynamic_delete(struct call *c);
void brokers_runtime(struct call *c);
void brokers_owned_namespaces(struct call *c);
void brokers_topic_stats(struct call *c);

void clients_list(struct call *c);

void events_get(struct call *c);

void limits_tree(struct call *c);
void limits_broker(struct call *c);
void limits_tenant(struct call *c);
void limits_ns(struct call *c);
void limits_resource_group(struct call *c);
void limits_topic(struct call *c);

void blocks_list(struct call *c);
void blocks_get(struct call *c);
void blocks_add(struct call *c);
void blocks_remove(struct call *c);

void lookup_topic(struct call *c);
void lookup_bundle(struct call *c);
void explain_topic(struct call *c);
void explain_ns(struct call *c);
void explain_tenant(struct call *c);
void explain_client(struct call *c);
void metrics_get(struct call *c);

#endif

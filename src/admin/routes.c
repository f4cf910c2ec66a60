/* routes.c - the table of everything that is served over HTTP. Literals before captures. Its lines
 * stand in docs/admin-api.md too: tests/unit/admin/route_test.c fails where they differ, and prints
 * them with --docs. */
#include "admin/res.h"

#define CLUSTERS   "/admin/v2/clusters"
#define TENANTS    "/admin/v2/tenants"
#define NAMESPACES "/admin/v2/namespaces"
#define NS         NAMESPACES "/{tenant}/{ns}"
#define DOMAIN_NS  "/admin/v2/{domain}/{tenant}/{ns}"
#define TOPIC      DOMAIN_NS "/{topic}"
#define SUB        TOPIC "/subscription/{sub}"
#define BLOCKS     "/admin/v2/blocks"
#define LIMITS     "/admin/v2/limits"
#define BROKERS    "/admin/v2/brokers"
#define GROUPS     "/admin/v2/resourcegroups"
#define GROUPS_82  "/admin/v2/resourcegroup" /* PIP-82 */

#define GET        HTTP_GET, ROUTE_SHORT
#define GET_LONG   HTTP_GET, ROUTE_LONG
#define GET_SURVEY HTTP_GET, ROUTE_SURVEY
#define PUT        HTTP_PUT, ROUTE_SHORT
#define POST       HTTP_POST, ROUTE_SHORT
#define DELETE     HTTP_DELETE, ROUTE_SHORT

const struct route routes[] = {
    {GET_SURVEY, "/metrics", metrics_get, "metrics as Prometheus text"},

    {GET, CLUSTERS, clusters_list, "names of clusters"},
    {GET, CLUSTERS "/{name}", clusters_get, "a cluster's addresses"},
    {PUT, CLUSTERS "/{name}", clusters_create, "make a cluster"},
    {POST, CLUSTERS "/{name}", clusters_update, "change a cluster's addresses"},
    {DELETE, CLUSTERS "/{name}", clusters_delete, "delete a cluster"},

    {GET, TENANTS, tenants_list, "names of tenants"},
    {GET, TENANTS "/{tenant}", tenants_get, "a tenant"},
    {PUT, TENANTS "/{tenant}", tenants_create, "make a tenant"},
    {POST, TENANTS "/{tenant}", tenants_update, "change a tenant"},
    {DELETE, TENANTS "/{tenant}", tenants_delete, "delete a tenant without namespaces"},
    {GET_LONG, TENANTS "/{tenant}/explain", explain_tenant,
     "which of its producers and subscriptions wait, for what, until when"},

    {GET, TENANTS "/{tenant}/publishQuota", policies_tenant_quota_get,
     "publish quota of all its topics together"},
    {POST, TENANTS "/{tenant}/publishQuota", policies_tenant_quota_set, "set it"},
    {DELETE, TENANTS "/{tenant}/publishQuota", policies_tenant_quota_delete, "remove it"},

    {GET, TENANTS "/{tenant}/dispatchQuota", policies_tenant_quota_get,
     "dispatch quota of all its topics together"},
    {POST, TENANTS "/{tenant}/dispatchQuota", policies_tenant_quota_set, "set it"},
    {DELETE, TENANTS "/{tenant}/dispatchQuota", policies_tenant_quota_delete, "remove it"},

    {GET, TENANTS "/{tenant}/resourcegroup", groups_tenant_get, "its resource group's name"},
    {POST, TENANTS "/{tenant}/resourcegroup/{name}", groups_tenant_set, "hang one on it"},
    {PUT, TENANTS "/{tenant}/resourcegroup/{name}", groups_tenant_set, "the same"},
    {DELETE, TENANTS "/{tenant}/resourcegroup", groups_tenant_delete, "take it off"},

    {GET_LONG, NAMESPACES "/{tenant}", namespaces_list, "a tenant's namespaces"},
    {GET, NS, namespaces_get, "a namespace's policies"},
    {PUT, NS, namespaces_create, "make a namespace"},
    {DELETE, NS, namespaces_delete, "delete an empty namespace"},
    {GET_LONG, NS "/topics", namespaces_topics, "its topics and partitions"},
    {GET, NS "/bundles", namespaces_bundles, "its bundles"},
    {GET, NS "/replication", namespaces_replication, "its clusters"},
    {GET, NS "/publishRate", policies_ns_rate_get, "publish rate of each topic below"},
    {POST, NS "/publishRate", policies_ns_rate_set, "set it"},
    {DELETE, NS "/publishRate", policies_ns_rate_delete, "remove it"},
    {GET, NS "/producerPublishRate", policies_ns_rate_get, "publish rate of each producer below"},
    {POST, NS "/producerPublishRate", policies_ns_rate_set, "set it"},
    {DELETE, NS "/producerPublishRate", policies_ns_rate_delete, "remove it"},
    {GET, NS "/dispatchRate", policies_ns_rate_get,
     "dispatch rate of each topic below, to all subscriptions together"},
    {POST, NS "/dispatchRate", policies_ns_rate_set, "set it"},
    {DELETE, NS "/dispatchRate", policies_ns_rate_delete, "remove it"},
    {GET, NS "/subscriptionDispatchRate", policies_ns_rate_get,
     "dispatch rate of each subscription below"},
    {POST, NS "/subscriptionDispatchRate", policies_ns_rate_set, "set it"},
    {DELETE, NS "/subscriptionDispatchRate", policies_ns_rate_delete, "remove it"},
    {GET, NS "/subscribeRate", policies_ns_rate_get, "how often each consumer below may subscribe"},
    {POST, NS "/subscribeRate", policies_ns_rate_set, "set it"},
    {DELETE, NS "/subscribeRate", policies_ns_rate_delete, "remove it"},
    {GET, NS "/publishQuota", policies_ns_quota_get, "publish quota of all topics together"},
    {POST, NS "/publishQuota", policies_ns_quota_set, "set it"},
    {DELETE, NS "/publishQuota", policies_ns_quota_delete, "remove it"},
    {GET, NS "/dispatchQuota", policies_ns_quota_get, "dispatch quota of all topics together"},
    {POST, NS "/dispatchQuota", policies_ns_quota_set, "set it"},
    {DELETE, NS "/dispatchQuota", policies_ns_quota_delete, "remove it"},
    {GET, NS "/resourcegroup", groups_ns_get, "its resource group's name"},
    {POST, NS "/resourcegroup/{name}", groups_ns_set, "hang one on it"},
    {PUT, NS "/resourcegroup/{name}", groups_ns_set, "the same"},
    {DELETE, NS "/resourcegroup", groups_ns_delete, "take it off"},
    {GET_LONG, NS "/explain", explain_ns,
     "which of its producers and subscriptions wait, for what, until when"},
    {GET, NS "/permissions", permissions_refuse, "501: there is no authorization"},
    {POST, NS "/permissions/{name}", permissions_refuse, "501"},
    {DELETE, NS "/permissions/{name}", permissions_refuse, "501"},

    {GET, GROUPS, groups_list, "names of resource groups"},
    {GET, GROUPS "/{name}", groups_get, "one's limits"},
    {PUT, GROUPS "/{name}", groups_put, "make one, or change what is given"},
    {DELETE, GROUPS "/{name}", groups_delete, "delete one that is hung on nothing"},
    {GET, GROUPS_82, groups_list, "the same as above, as PIP-82 spells it"},
    {GET, GROUPS_82 "/{name}", groups_get, "the same"},
    {PUT, GROUPS_82 "/{name}", groups_put, "the same"},
    {DELETE, GROUPS_82 "/{name}", groups_delete, "the same"},

    {GET, BROKERS, brokers_list, "brokers"},
    {GET, BROKERS "/leaderBroker", brokers_leader, "the leader"},
    {GET, BROKERS "/health", brokers_health, "ok"},
    {GET, BROKERS "/ready", brokers_ready, "ok, or 503 while it starts"},
    {GET, BROKERS "/version", brokers_version, "version"},
    {GET, BROKERS "/configuration", brokers_dynamic_names,
     "settings that can be changed while it runs"},
    {GET, BROKERS "/configuration/values", brokers_dynamic_values, "those that were"},
    {GET, BROKERS "/configuration/runtime", brokers_runtime, "all settings in force"},
    {POST, BROKERS "/configuration/{name}/{value}", brokers_dynamic_set,
     "change a dynamic setting"},
    {DELETE, BROKERS "/configuration/{name}", brokers_dynamic_delete,
     "back to what broker.conf says"},
    {GET, BROKERS "/{name}", brokers_list, "brokers of a cluster"},
    {GET_LONG, BROKERS "/{name}/{value}/ownedNamespaces", brokers_owned_namespaces,
     "what a broker serves"},
    {GET_SURVEY, "/admin/v2/broker-stats/topics", brokers_topic_stats, "statistics of all topics"},

    {GET_SURVEY, "/admin/v2/clients", clients_list,
     "connections with address, producers, consumers, rates"},

    {GET, "/admin/v2/events", events_get, "what happened (?since=, ?limit=)"},
    {GET_LONG, "/admin/v2/clients/{name}/explain", explain_client,
     "the same of a client, by its id or address"},

    {GET_SURVEY, LIMITS, limits_tree,
     "every limit that is set or has made somebody wait, as a tree"},
    {GET_LONG, LIMITS "/broker", limits_broker, "the broker's quota, and what waits for it"},
    {GET_LONG, LIMITS "/tenants/{tenant}", limits_tenant, "a tenant's"},
    {GET_LONG, LIMITS "/namespaces/{tenant}/{ns}", limits_ns, "a namespace's"},
    {GET_LONG, LIMITS "/resourcegroups/{name}", limits_resource_group, "a resource group's"},
    {GET_LONG, LIMITS "/topics/{domain}/{tenant}/{ns}/{topic}", limits_topic,
     "a topic's rate, or a partitioned topic's quota"},

    {GET, BLOCKS, blocks_list, "who is blocked"},
    {POST, BLOCKS, blocks_add, "block a producer, topic, namespace, tenant, address or role"},
    {GET, BLOCKS "/{number}", blocks_get, "a block"},
    {DELETE, BLOCKS "/{number}", blocks_remove, "lift it"},

    {GET_LONG, DOMAIN_NS, topics_list, "topics and partitions of a namespace"},
    {GET_LONG, DOMAIN_NS "/partitioned", topics_list_partitioned, "partitioned topics"},
    {PUT, TOPIC, topics_create, "make a topic"},
    {DELETE, TOPIC, topics_delete, "delete a topic (?force=)"},
    {GET, TOPIC "/partitions", partitions_get, "number of partitions"},
    {PUT, TOPIC "/partitions", partitions_create, "make a partitioned topic"},
    {POST, TOPIC "/partitions", partitions_grow, "more partitions"},
    {DELETE, TOPIC "/partitions", partitions_delete, "delete a partitioned topic (?force=)"},
    {GET_LONG, TOPIC "/stats", topics_stats, "statistics"},
    {GET_LONG, TOPIC "/partitioned-stats", topics_partitioned_stats,
     "sums and partitions (?perPartition=)"},
    {GET_LONG, TOPIC "/internalStats", topics_internal_stats, "ledger and cursors"},
    {GET_LONG, TOPIC "/partitioned-internalStats", topics_partitioned_internal_stats,
     "of each partition"},
    {GET_LONG, TOPIC "/explain", explain_topic, "which limit binds, since when, who waits"},
    {GET, TOPIC "/lastMessageId", topics_last_message_id, "the last message's id"},
    {GET, TOPIC "/properties", topics_properties_get, "properties"},
    {PUT, TOPIC "/properties", topics_properties_set, "add or change properties"},
    {DELETE, TOPIC "/properties", topics_properties_delete, "remove one (?key=)"},
    {PUT, TOPIC "/unload", topics_unload, "disconnect its clients; they come again"},
    {GET, TOPIC "/publishRate", policies_topic_rate_get, "publish rate (?applied=true: in force)"},
    {POST, TOPIC "/publishRate", policies_topic_rate_set, "set it"},
    {DELETE, TOPIC "/publishRate", policies_topic_rate_delete, "remove it"},
    {GET, TOPIC "/producerPublishRate", policies_topic_rate_get,
     "publish rate of each producer (?applied=true: in force)"},
    {POST, TOPIC "/producerPublishRate", policies_topic_rate_set, "set it"},
    {DELETE, TOPIC "/producerPublishRate", policies_topic_rate_delete, "remove it"},
    {GET, TOPIC "/dispatchRate", policies_topic_rate_get,
     "dispatch rate to all subscriptions together (?applied=true: in force)"},
    {POST, TOPIC "/dispatchRate", policies_topic_rate_set, "set it"},
    {DELETE, TOPIC "/dispatchRate", policies_topic_rate_delete, "remove it"},
    {GET, TOPIC "/subscriptionDispatchRate", policies_topic_rate_get,
     "dispatch rate of each subscription (?applied=true: in force)"},
    {POST, TOPIC "/subscriptionDispatchRate", policies_topic_rate_set, "set it"},
    {DELETE, TOPIC "/subscriptionDispatchRate", policies_topic_rate_delete, "remove it"},
    {GET, TOPIC "/subscribeRate", policies_topic_rate_get,
     "how often each consumer may subscribe (?applied=true: in force)"},
    {POST, TOPIC "/subscribeRate", policies_topic_rate_set, "set it"},
    {DELETE, TOPIC "/subscribeRate", policies_topic_rate_delete, "remove it"},
    {GET, TOPIC "/publishQuota", policies_topic_quota_get,
     "publish quota of a partitioned topic: all partitions together"},
    {POST, TOPIC "/publishQuota", policies_topic_quota_set, "set it"},
    {DELETE, TOPIC "/publishQuota", policies_topic_quota_delete, "remove it"},
    {GET, TOPIC "/dispatchQuota", policies_topic_quota_get,
     "dispatch quota of a partitioned topic: all partitions together"},
    {POST, TOPIC "/dispatchQuota", policies_topic_quota_set, "set it"},
    {DELETE, TOPIC "/dispatchQuota", policies_topic_quota_delete, "remove it"},
    {GET, TOPIC "/permissions", permissions_refuse, "501: there is no authorization"},
    {POST, TOPIC "/permissions/{name}", permissions_refuse, "501"},
    {DELETE, TOPIC "/permissions/{name}", permissions_refuse, "501"},

    {GET, TOPIC "/{sub}/dispatchRate", policies_sub_rate_get,
     "dispatch rate of one subscription (?applied=true: in force)"},
    {POST, TOPIC "/{sub}/dispatchRate", policies_sub_rate_set, "set it"},
    {DELETE, TOPIC "/{sub}/dispatchRate", policies_sub_rate_delete, "remove it"},

    {GET_LONG, TOPIC "/subscriptions", subscriptions_list, "subscriptions"},
    {PUT, SUB, subscriptions_create, "make one at a MessageId, latest or earliest"},
    {DELETE, SUB, subscriptions_delete, "delete it (?force=)"},
    {POST, SUB "/skip/{number}", subscriptions_skip, "skip messages"},
    {POST, SUB "/skip_all", subscriptions_skip_all, "skip all"},
    {POST, SUB "/resetcursor/{number}", subscriptions_reset_to_time, "back to a time in ms"},
    {POST, SUB "/resetcursor", subscriptions_reset_to_id, "back to a MessageId"},

    {GET, "/lookup/v2/topic/{domain}/{tenant}/{ns}/{topic}", lookup_topic,
     "which broker serves a topic"},
    {GET, "/lookup/v2/topic/{domain}/{tenant}/{ns}/{topic}/bundle", lookup_bundle, "its bundle"},
};

size_t routes_count(void)
{
    return sizeof routes / sizeof *routes;
}

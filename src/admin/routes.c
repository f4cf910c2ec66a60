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
#define BROKERS    "/admin/v2/brokers"

const struct route routes[] = {
    {HTTP_GET, "/metrics", metrics_get, "metrics as Prometheus text"},

    {HTTP_GET, CLUSTERS, clusters_list, "names of clusters"},
    {HTTP_GET, CLUSTERS "/{name}", clusters_get, "a cluster's addresses"},
    {HTTP_PUT, CLUSTERS "/{name}", clusters_create, "make a cluster"},
    {HTTP_POST, CLUSTERS "/{name}", clusters_update, "change a cluster's addresses"},
    {HTTP_DELETE, CLUSTERS "/{name}", clusters_delete, "delete a cluster"},

    {HTTP_GET, TENANTS, tenants_list, "names of tenants"},
    {HTTP_GET, TENANTS "/{tenant}", tenants_get, "a tenant"},
    {HTTP_PUT, TENANTS "/{tenant}", tenants_create, "make a tenant"},
    {HTTP_POST, TENANTS "/{tenant}", tenants_update, "change a tenant"},
    {HTTP_DELETE, TENANTS "/{tenant}", tenants_delete, "delete a tenant without namespaces"},

    {HTTP_GET, NAMESPACES "/{tenant}", namespaces_list, "a tenant's namespaces"},
    {HTTP_GET, NS, namespaces_get, "a namespace's policies"},
    {HTTP_PUT, NS, namespaces_create, "make a namespace"},
    {HTTP_DELETE, NS, namespaces_delete, "delete an empty namespace"},
    {HTTP_GET, NS "/topics", namespaces_topics, "its topics and partitions"},
    {HTTP_GET, NS "/bundles", namespaces_bundles, "its bundles"},
    {HTTP_GET, NS "/replication", namespaces_replication, "its clusters"},
    {HTTP_GET, NS "/publishRate", policies_ns_rate_get, "publish rate of each topic below"},
    {HTTP_POST, NS "/publishRate", policies_ns_rate_set, "set it"},
    {HTTP_DELETE, NS "/publishRate", policies_ns_rate_delete, "remove it"},
    {HTTP_GET, NS "/publishQuota", policies_ns_quota_get, "publish quota of all topics together"},
    {HTTP_POST, NS "/publishQuota", policies_ns_quota_set, "set it"},
    {HTTP_DELETE, NS "/publishQuota", policies_ns_quota_delete, "remove it"},
    {HTTP_GET, NS "/permissions", permissions_refuse, "501: there is no authorization"},
    {HTTP_POST, NS "/permissions/{name}", permissions_refuse, "501"},
    {HTTP_DELETE, NS "/permissions/{name}", permissions_refuse, "501"},

    {HTTP_GET, BROKERS, brokers_list, "brokers"},
    {HTTP_GET, BROKERS "/leaderBroker", brokers_leader, "the leader"},
    {HTTP_GET, BROKERS "/health", brokers_health, "ok"},
    {HTTP_GET, BROKERS "/ready", brokers_ready, "ok, or 503 while it starts"},
    {HTTP_GET, BROKERS "/version", brokers_version, "version"},
    {HTTP_GET, BROKERS "/configuration", brokers_dynamic_names,
     "settings that can be changed while it runs"},
    {HTTP_GET, BROKERS "/configuration/values", brokers_dynamic_values, "those that were"},
    {HTTP_GET, BROKERS "/configuration/runtime", brokers_runtime, "all settings in force"},
    {HTTP_POST, BROKERS "/configuration/{name}/{value}", brokers_dynamic_set,
     "change a dynamic setting"},
    {HTTP_DELETE, BROKERS "/configuration/{name}", brokers_dynamic_delete,
     "back to what broker.conf says"},
    {HTTP_GET, BROKERS "/{name}", brokers_list, "brokers of a cluster"},
    {HTTP_GET, BROKERS "/{name}/{value}/ownedNamespaces", brokers_owned_namespaces,
     "what a broker serves"},
    {HTTP_GET, "/admin/v2/broker-stats/topics", brokers_topic_stats, "statistics of all topics"},

    {HTTP_GET, DOMAIN_NS, topics_list, "topics and partitions of a namespace"},
    {HTTP_GET, DOMAIN_NS "/partitioned", topics_list_partitioned, "partitioned topics"},
    {HTTP_PUT, TOPIC, topics_create, "make a topic"},
    {HTTP_DELETE, TOPIC, topics_delete, "delete a topic (?force=)"},
    {HTTP_GET, TOPIC "/partitions", partitions_get, "number of partitions"},
    {HTTP_PUT, TOPIC "/partitions", partitions_create, "make a partitioned topic"},
    {HTTP_POST, TOPIC "/partitions", partitions_grow, "more partitions"},
    {HTTP_DELETE, TOPIC "/partitions", partitions_delete, "delete a partitioned topic (?force=)"},
    {HTTP_GET, TOPIC "/stats", topics_stats, "statistics"},
    {HTTP_GET, TOPIC "/partitioned-stats", topics_partitioned_stats,
     "sums and partitions (?perPartition=)"},
    {HTTP_GET, TOPIC "/internalStats", topics_internal_stats, "ledger and cursors"},
    {HTTP_GET, TOPIC "/partitioned-internalStats", topics_partitioned_internal_stats,
     "of each partition"},
    {HTTP_GET, TOPIC "/explain", explain_topic, "which limit binds, since when, who waits"},
    {HTTP_GET, TOPIC "/lastMessageId", topics_last_message_id, "the last message's id"},
    {HTTP_GET, TOPIC "/properties", topics_properties_get, "properties"},
    {HTTP_PUT, TOPIC "/properties", topics_properties_set, "add or change properties"},
    {HTTP_DELETE, TOPIC "/properties", topics_properties_delete, "remove one (?key=)"},
    {HTTP_PUT, TOPIC "/unload", topics_unload, "disconnect its clients; they come again"},
    {HTTP_GET, TOPIC "/publishRate", policies_topic_rate_get,
     "publish rate (?applied=true: in force)"},
    {HTTP_POST, TOPIC "/publishRate", policies_topic_rate_set, "set it"},
    {HTTP_DELETE, TOPIC "/publishRate", policies_topic_rate_delete, "remove it"},
    {HTTP_GET, TOPIC "/permissions", permissions_refuse, "501: there is no authorization"},
    {HTTP_POST, TOPIC "/permissions/{name}", permissions_refuse, "501"},
    {HTTP_DELETE, TOPIC "/permissions/{name}", permissions_refuse, "501"},

    {HTTP_GET, TOPIC "/subscriptions", subscriptions_list, "subscriptions"},
    {HTTP_PUT, SUB, subscriptions_create, "make one at a MessageId, latest or earliest"},
    {HTTP_DELETE, SUB, subscriptions_delete, "delete it (?force=)"},
    {HTTP_POST, SUB "/skip/{number}", subscriptions_skip, "skip messages"},
    {HTTP_POST, SUB "/skip_all", subscriptions_skip_all, "skip all"},
    {HTTP_POST, SUB "/resetcursor/{number}", subscriptions_reset_to_time, "back to a time in ms"},
    {HTTP_POST, SUB "/resetcursor", subscriptions_reset_to_id, "back to a MessageId"},

    {HTTP_GET, "/lookup/v2/topic/{domain}/{tenant}/{ns}/{topic}", lookup_topic,
     "which broker serves a topic"},
    {HTTP_GET, "/lookup/v2/topic/{domain}/{tenant}/{ns}/{topic}/bundle", lookup_bundle,
     "its bundle"},
};

size_t routes_count(void)
{
    return sizeof routes / sizeof *routes;
}

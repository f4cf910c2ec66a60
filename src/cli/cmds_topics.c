/* cmds_topics.c - the groups topics and topicPolicies, and the commands without a group. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/names.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/url.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define SUBSCRIPTION                                                                               \
    {                                                                                              \
        .name = "subscription", .letter = "s", .takes = "NAME", .help = "which subscription",      \
        .required = true                                                                           \
    }
enum { PARTITIONS_MAX = 100000 };

static const struct cli_option create_options[] = {
    {.name = "metadata", .letter = "m", .takes = "K=V,...", .help = "properties of the topic"},
    END,
};
static const struct cli_option partitions_options[] = {
    {.name = "partitions",
     .letter = "p",
     .takes = "N",
     .help = "how many partitions",
     .required = true,
     .is_number = true,
     .min = 1,
     .max = PARTITIONS_MAX},
    END,
};
static const struct cli_option stats_options[] = {
    {.name = "get-precise-backlog", .letter = "gpb", .help = "count the backlog exactly"},
    {.name = "get-subscription-backlog-size", .letter = "sbs", .help = "backlog in bytes too"},
    END,
};
static const struct cli_option partitioned_stats_options[] = {
    {.name = "per-partition", .help = "each partition's too"},
    {.name = "get-precise-backlog", .letter = "gpb", .help = "count the backlog exactly"},
    END,
};
static const struct cli_option subscription_options[] = {SUBSCRIPTION, END};
static const struct cli_option create_subscription_options[] = {
    SUBSCRIPTION,
    {.name = "messageId",
     .letter = "m",
     .takes = "ID",
     .help = "where it begins: latest (that is the default), earliest or LEDGER:ENTRY"},
    END,
};
static const struct cli_option unsubscribe_options[] = {
    SUBSCRIPTION,
    {.name = "force", .letter = "f", .help = "also when consumers are connected"},
    END,
};
static const struct cli_option skip_options[] = {
    SUBSCRIPTION,
    {.name = "count",
     .letter = "n",
     .takes = "N",
     .help = "how many messages",
     .required = true,
     .is_number = true,
     .min = 1,
     .max = INT64_MAX},
    END,
};
static const struct cli_option reset_options[] = {
    SUBSCRIPTION,
    {.name = "time", .letter = "t", .takes = "SPAN", .help = "back by 30s, 5m, 3h, 2d or 1w"},
    {.name = "messageId", .letter = "m", .takes = "LEDGER:ENTRY", .help = "to this message"},
    END,
};

static enum tg_err create_body(const struct call *c, json_t **out, char **why)
{
    const char *p = args_value(&c->args, "metadata");
    *out = p ? json_object() : NULL;
    while (p && *p) {
        size_t len = strcspn(p, ","), key = strcspn(p, "=");
        if (key == 0 || key >= len) {
            *why = xasprintf("--metadata '%s': allowed: KEY=VALUE,KEY=VALUE", p);
            return TG_EINVAL;
        }
        char *name = xstrndup(p, key);
        json_object_set_new(*out, name, json_stringn(p + key + 1, len - key - 1));
        free(name);
        p += len + (p[len] == ',');
    }
    return TG_OK;
}

static enum tg_err partitions_body(const struct call *c, json_t **out, char **why)
{
    (void)why;
    *out = json_integer(args_number(&c->args, "partitions", 0));
    return TG_OK;
}

/* "5:17" as a MessageId of this topic. */
static enum tg_err message_id(const struct call *c, const char *word, json_t **out, char **why)
{
    int64_t ledger, entry;
    int used = 0;
    if (sscanf(word, "%" SCNd64 ":%" SCNd64 "%n", &ledger, &entry, &used) != 2 || word[used] ||
        ledger < 0 || entry < 0) {
        *why = xasprintf("--messageId '%s': allowed: LEDGER:ENTRY", word);
        return TG_EINVAL;
    }
    struct topic_name n;
    const char *reason;
    if (topic_name_parse(&n, call_arg(c, "topic"), &reason) != TG_OK) {
        *why = xasprintf("topic '%s': %s", call_arg(c, "topic"), reason);
        return TG_EINVAL;
    }
    *out = json_pack("{s:I,s:I,s:i}", "ledgerId", (json_int_t)ledger, "entryId", (json_int_t)entry,
                     "partitionIndex", n.partition);
    topic_name_fini(&n);
    return TG_OK;
}

static enum tg_err create_subscription_body(const struct call *c, json_t **out, char **why)
{
    const char *id = args_value(&c->args, "messageId");
    if (!id || strcmp(id, "latest") == 0 || strcmp(id, "earliest") == 0) {
        *out = json_string(id ? id : "latest");
        return TG_OK;
    }
    return message_id(c, id, out, why);
}

/* "5m" as nanoseconds; -1: no such span. */
static int64_t span_ns(const char *word)
{
    static const char unit[] = "smhdw";
    static const int64_t unit_s[] = {1, 60, 3600, 86400, 604800};
    char *end;
    long long n = strtoll(word, &end, 10);
    const char *at = *end && end != word ? strchr(unit, *end) : NULL;
    int64_t span;
    if (!at || end[1] || n < 0 || __builtin_mul_overflow(n, unit_s[at - unit] * MONO_S, &span))
        return -1;
    return span;
}

static int reset_to(struct call *c, const char *template, const char *last, const json_t *body)
{
    char *path, *why;
    if (url_path(c, template, &path, &why) != TG_OK) {
        complain(c, "%s", why);
        free(why);
        return CLI_USAGE;
    }
    char *whole = xasprintf("%s%s", path, last);
    int code = request_send(c, "POST", whole, body, NULL);
    free(whole);
    free(path);
    return code;
}

int reset_cursor_run(struct call *c)
{
    const char *time = args_value(&c->args, "time"), *id = args_value(&c->args, "messageId");
    if (!time == !id) {
        complain(c, "one of --time and --messageId is needed");
        return CLI_USAGE;
    }
    if (time) {
        int64_t span = span_ns(time);
        if (span < 0) {
            complain(c, "--time '%s': allowed: a whole number with s, m, h, d or w", time);
            return CLI_USAGE;
        }
        char stamp[32];
        snprintf(stamp, sizeof stamp, "/%" PRId64, (wall_now_ns() - span) / MONO_MS);
        return reset_to(c, "/{topic}/subscription/{subscription}/resetcursor", stamp, NULL);
    }
    char *why = NULL;
    json_t *body = NULL;
    int code = CLI_USAGE;
    if (message_id(c, id, &body, &why) == TG_OK)
        code = reset_to(c, "/{topic}/subscription/{subscription}/resetcursor", "", body);
    else
        complain(c, "%s", why);
    free(why);
    json_decref(body);
    return code;
}

#define PUBLISH_RATE(g)                                                                            \
    {.group = g,                                                                                   \
     .name = "set-publish-rate",                                                                   \
     .args = {"topic"},                                                                            \
     .options = set_rate_options,                                                                  \
     .method = "POST",                                                                             \
     .path = "/{topic}/publishRate",                                                               \
     .body = publish_rate_body,                                                                    \
     .help = "limits what is published to a topic (to each partition)"},                           \
        {.group = g,                                                                               \
         .name = "get-publish-rate",                                                               \
         .args = {"topic"},                                                                        \
         .options = get_policy_options,                                                            \
         .method = "GET",                                                                          \
         .path = "/{topic}/publishRate?applied={applied}",                                         \
         .output = OUT_JSON,                                                                       \
         .help = "its limit, or null"},                                                            \
        {.group = g,                                                                               \
         .name = "remove-publish-rate",                                                            \
         .args = {"topic"},                                                                        \
         .method = "DELETE",                                                                       \
         .path = "/{topic}/publishRate",                                                           \
         .help = "removes its limit"},                                                             \
        {.group = g,                                                                               \
         .name = "set-producer-publish-rate",                                                      \
         .args = {"topic"},                                                                        \
         .options = set_rate_options,                                                              \
         .method = "POST",                                                                         \
         .path = "/{topic}/producerPublishRate",                                                   \
         .body = publish_rate_body,                                                                \
         .help = "limits what each producer publishes to a topic (to each partition)"},            \
        {.group = g,                                                                               \
         .name = "get-producer-publish-rate",                                                      \
         .args = {"topic"},                                                                        \
         .options = get_policy_options,                                                            \
         .method = "GET",                                                                          \
         .path = "/{topic}/producerPublishRate?applied={applied}",                                 \
         .output = OUT_JSON,                                                                       \
         .help = "that limit, or null"},                                                           \
        {.group = g,                                                                               \
         .name = "remove-producer-publish-rate",                                                   \
         .args = {"topic"},                                                                        \
         .method = "DELETE",                                                                       \
         .path = "/{topic}/producerPublishRate",                                                   \
         .help = "removes it"},                                                                    \
        {.group = g,                                                                               \
         .name = "set-publish-quota",                                                              \
         .args = {"topic"},                                                                        \
         .options = set_rate_options,                                                              \
         .method = "POST",                                                                         \
         .path = "/{topic}/publishQuota",                                                          \
         .body = publish_rate_body,                                                                \
         .help = "limits all partitions of a topic together"},                                     \
        {.group = g,                                                                               \
         .name = "get-publish-quota",                                                              \
         .args = {"topic"},                                                                        \
         .method = "GET",                                                                          \
         .path = "/{topic}/publishQuota",                                                          \
         .output = OUT_JSON,                                                                       \
         .help = "that quota, or null"},                                                           \
    {                                                                                              \
        .group = g, .name = "remove-publish-quota", .args = {"topic"}, .method = "DELETE",         \
        .path = "/{topic}/publishQuota", .help = "removes its quota"                               \
    }

const struct command topic_commands[] = {
    {.group = "topics",
     .name = "list",
     .args = {"namespace"},
     .method = "GET",
     .path = "/persistent/{namespace}",
     .output = OUT_LINES,
     .help = "topics of a namespace"},
    {.group = "topics",
     .name = "list-partitioned-topics",
     .args = {"namespace"},
     .method = "GET",
     .path = "/persistent/{namespace}/partitioned",
     .output = OUT_LINES,
     .help = "partitioned topics of a namespace"},
    {.group = "topics",
     .name = "create",
     .args = {"topic"},
     .options = create_options,
     .method = "PUT",
     .path = "/{topic}",
     .body = create_body,
     .help = "makes a topic without partitions"},
    {.group = "topics",
     .name = "create-partitioned-topic",
     .args = {"topic"},
     .options = partitions_options,
     .method = "PUT",
     .path = "/{topic}/partitions",
     .body = partitions_body,
     .help = "makes a partitioned topic"},
    {.group = "topics",
     .name = "update-partitioned-topic",
     .args = {"topic"},
     .options = partitions_options,
     .method = "POST",
     .path = "/{topic}/partitions",
     .body = partitions_body,
     .help = "gives it more partitions"},
    {.group = "topics",
     .name = "get-partitioned-topic-metadata",
     .args = {"topic"},
     .method = "GET",
     .path = "/{topic}/partitions",
     .output = OUT_JSON,
     .help = "how many partitions it has"},
    {.group = "topics",
     .name = "delete",
     .args = {"topic"},
     .options = force_options,
     .method = "DELETE",
     .path = "/{topic}?force={force}",
     .help = "deletes a topic"},
    {.group = "topics",
     .name = "delete-partitioned-topic",
     .args = {"topic"},
     .options = force_options,
     .method = "DELETE",
     .path = "/{topic}/partitions?force={force}",
     .help = "deletes a partitioned topic"},
    {.group = "topics",
     .name = "stats",
     .args = {"topic"},
     .options = stats_options,
     .method = "GET",
     .path = "/{topic}/stats?getPreciseBacklog={get-precise-backlog}"
             "&subscriptionBacklogSize={get-subscription-backlog-size}",
     .output = OUT_JSON,
     .help = "rates, backlogs, who is connected"},
    {.group = "topics",
     .name = "partitioned-stats",
     .args = {"topic"},
     .options = partitioned_stats_options,
     .method = "GET",
     .path = "/{topic}/partitioned-stats?perPartition={per-partition}"
             "&getPreciseBacklog={get-precise-backlog}",
     .output = OUT_JSON,
     .help = "the same, summed over the partitions"},
    {.group = "topics",
     .name = "subscriptions",
     .args = {"topic"},
     .method = "GET",
     .path = "/{topic}/subscriptions",
     .output = OUT_LINES,
     .help = "names of its subscriptions"},
    {.group = "topics",
     .name = "create-subscription",
     .args = {"topic"},
     .options = create_subscription_options,
     .method = "PUT",
     .path = "/{topic}/subscription/{subscription}",
     .body = create_subscription_body,
     .help = "makes a subscription"},
    {.group = "topics",
     .name = "unsubscribe",
     .args = {"topic"},
     .options = unsubscribe_options,
     .method = "DELETE",
     .path = "/{topic}/subscription/{subscription}?force={force}",
     .help = "deletes a subscription"},
    {.group = "topics",
     .name = "skip",
     .args = {"topic"},
     .options = skip_options,
     .method = "POST",
     .path = "/{topic}/subscription/{subscription}/skip/{count}",
     .help = "skips messages of a subscription"},
    {.group = "topics",
     .name = "clear-backlog",
     .alias = "skip-all",
     .args = {"topic"},
     .options = subscription_options,
     .method = "POST",
     .path = "/{topic}/subscription/{subscription}/skip_all",
     .help = "skips all of them"},
    {.group = "topics",
     .name = "reset-cursor",
     .args = {"topic"},
     .options = reset_options,
     .run = reset_cursor_run,
     .help = "moves a subscription back or forth"},
    PUBLISH_RATE("topics"),
    {.group = "topics",
     .name = "unload",
     .args = {"topic"},
     .method = "PUT",
     .path = "/{topic}/unload",
     .help = "sends its clients away; they come again"},
    {.group = "topics",
     .name = "last-message-id",
     .args = {"topic"},
     .method = "GET",
     .path = "/{topic}/lastMessageId",
     .output = OUT_JSON,
     .help = "id of its last message"},
    PUBLISH_RATE("topicPolicies"),
    END,
};

/* cmds_dispatch.c - the commands for what is sent to consumers, which namespaces, topics,
 * topicPolicies and tenants have alike: limits of dispatch and of subscribing. */
#include "base/alloc.h"
#include "cli/command.h"
#include "limiter/bucket.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define NUMBER(option, short, least, most, text)                                                   \
    {                                                                                              \
        .name = option, .letter = short, .takes = "N", .help = text, .is_number = true,            \
        .min = least, .max = most                                                                  \
    }
/* The short names are pulsar-admin's. */
#define DISPATCH_NUMBERS                                                                           \
    NUMBER("msg-dispatch-rate", "md", -1, TG_RATE_MAX_PER_S, "messages per period; -1: no limit"), \
        NUMBER("byte-dispatch-rate", "bd", -1, TG_RATE_MAX_PER_S,                                  \
               "bytes per period; -1: no limit"),                                                  \
        NUMBER("dispatch-rate-period", "dt", 1, 3600, "the period in seconds (1)"),                \
        NUMBER("burst-msgs", NULL, 1, TG_BURST_MAX,                                                \
               "messages at once after a pause (one second's worth)"),                             \
        NUMBER("burst-bytes", NULL, 1, TG_BURST_MAX,                                               \
               "bytes at once after a pause (one second's worth)"),                                \
        NUMBER("peak-msgs", NULL, 1, TG_RATE_MAX_PER_S,                                            \
               "messages per period inside a burst (no bound)"),                                   \
        NUMBER("peak-bytes", NULL, 1, TG_RATE_MAX_PER_S,                                           \
               "bytes per period inside a burst (no bound)"),                                      \
        NUMBER("weight", NULL, 1, 1000, "share where it waits with others for a wider limit (1)"), \
    {                                                                                              \
        .name = "dry-run", .help = "count what it would hold up, hold up nobody"                   \
    }

#define RATE_OPTIONS                                                                               \
    DISPATCH_NUMBERS,                                                                              \
    {                                                                                              \
        .name = "relative-to-publish-rate", .letter = "rp",                                        \
        .help = "the rates come on top of what is published now"                                   \
    }
#define SUBSCRIPTION                                                                               \
    {                                                                                              \
        .name = "subscription", .letter = "s", .takes = "NAME",                                    \
        .help = "of this subscription only, before what holds for each"                            \
    }

static const struct cli_option rate_options[] = {RATE_OPTIONS, END};
static const struct cli_option sub_rate_options[] = {SUBSCRIPTION, RATE_OPTIONS, END};
static const struct cli_option sub_options[] = {SUBSCRIPTION, END};
static const struct cli_option sub_get_options[] = {
    SUBSCRIPTION,
    {.name = "applied", .letter = "ap", .help = "what is in force, also where it is inherited"},
    END,
};

static const struct cli_option quota_options[] = {DISPATCH_NUMBERS, END};

static const struct cli_option subscribe_options[] = {
    NUMBER("subscribe-rate", "sr", -1, TG_RATE_MAX_PER_S, "attempts per period; -1: no limit"),
    NUMBER("subscribe-rate-period", "st", 1, 3600, "the period in seconds (30)"),
    END,
};

static enum tg_err quota_body(const struct call *c, json_t **out, char **why)
{
    enum tg_err e = limit_body(c, "dispatch", out, why);
    if (e == TG_OK)
        json_object_set_new(*out, "ratePeriodInSecond",
                            json_integer(args_number(&c->args, "dispatch-rate-period", 1)));
    return e;
}

static enum tg_err rate_body(const struct call *c, json_t **out, char **why)
{
    enum tg_err e = quota_body(c, out, why);
    if (e == TG_OK)
        json_object_set_new(*out, "relativeToPublishRate",
                            json_boolean(args_has(&c->args, "relative-to-publish-rate")));
    return e;
}

static enum tg_err subscribe_body(const struct call *c, json_t **out, char **why)
{
    const struct args *a = &c->args;
    if (!args_has(a, "subscribe-rate")) {
        *why = xasprintf("--subscribe-rate N is needed");
        return TG_EINVAL;
    }
    *out = json_pack("{s:I, s:I}", "subscribeThrottlingRatePerConsumer",
                     (json_int_t)args_number(a, "subscribe-rate", -1), "ratePeriodInSecond",
                     (json_int_t)args_number(a, "subscribe-rate-period", 30));
    return TG_OK;
}

/* set-, get- and remove-<what> of <arg>, which REST has at <url>/<policy>. */
#define SET(g, arg, what, url, policy, opts, make_body, text)                                      \
    {                                                                                              \
        .group = g, .name = "set-" what, .args = {arg}, .options = opts, .method = "POST",         \
        .path = url "/" policy, .body = make_body, .help = text                                    \
    }
#define GET(g, arg, what, url, policy, opts, query)                                                \
    {                                                                                              \
        .group = g, .name = "get-" what, .args = {arg}, .options = opts, .method = "GET",          \
        .path = url "/" policy query, .output = OUT_JSON, .help = "that limit, or null"            \
    }
#define REMOVE(g, arg, what, url, policy)                                                          \
    {                                                                                              \
        .group = g, .name = "remove-" what, .args = {arg}, .method = "DELETE",                     \
        .path = url "/" policy, .help = "removes it"                                               \
    }

#define OF_NAMESPACE(what, policy, opts, make_body, text)                                          \
    SET("namespaces", "namespace", what, "/namespaces/{namespace}", policy, opts, make_body,       \
        text),                                                                                     \
        GET("namespaces", "namespace", what, "/namespaces/{namespace}", policy, NULL, ""),         \
        REMOVE("namespaces", "namespace", what, "/namespaces/{namespace}", policy)

#define OF_TOPIC(g, what, policy, opts, make_body, text)                                           \
    SET(g, "topic", what, "/{topic}", policy, opts, make_body, text),                              \
        GET(g, "topic", what, "/{topic}", policy, get_policy_options, "?applied={applied}"),       \
        REMOVE(g, "topic", what, "/{topic}", policy)

/* Of each subscription of a topic, or of one. */
#define OF_SUBSCRIPTIONS(g)                                                                        \
    {.group = g,                                                                                   \
     .name = "set-subscription-dispatch-rate",                                                     \
     .args = {"topic"},                                                                            \
     .options = sub_rate_options,                                                                  \
     .method = "POST",                                                                             \
     .path = "/{topic}/subscriptionDispatchRate",                                                  \
     .with = "subscription",                                                                       \
     .path_with = "/{topic}/{subscription}/dispatchRate",                                          \
     .body = rate_body,                                                                            \
     .help = "limits what each subscription of a topic gets, or one of them"},                     \
        {.group = g,                                                                               \
         .name = "get-subscription-dispatch-rate",                                                 \
         .args = {"topic"},                                                                        \
         .options = sub_get_options,                                                               \
         .method = "GET",                                                                          \
         .path = "/{topic}/subscriptionDispatchRate?applied={applied}",                            \
         .with = "subscription",                                                                   \
         .path_with = "/{topic}/{subscription}/dispatchRate?applied={applied}",                    \
         .output = OUT_JSON,                                                                       \
         .help = "that limit, or null"},                                                           \
    {                                                                                              \
        .group = g, .name = "remove-subscription-dispatch-rate", .args = {"topic"},                \
        .options = sub_options, .method = "DELETE", .path = "/{topic}/subscriptionDispatchRate",   \
        .with = "subscription", .path_with = "/{topic}/{subscription}/dispatchRate",               \
        .help = "removes it"                                                                       \
    }

#define OF_TOPICS(g)                                                                               \
    OF_TOPIC(g, "dispatch-rate", "dispatchRate", rate_options, rate_body,                          \
             "limits what a topic (each partition) sends to all its subscriptions"),               \
        OF_SUBSCRIPTIONS(g),                                                                       \
        OF_TOPIC(g, "subscribe-rate", "subscribeRate", subscribe_options, subscribe_body,          \
                 "limits how often each consumer of a topic may subscribe"),                       \
        SET(g, "topic", "dispatch-quota", "/{topic}", "dispatchQuota", quota_options, quota_body,  \
            "limits what all partitions of a topic send together"),                                \
        GET(g, "topic", "dispatch-quota", "/{topic}", "dispatchQuota", NULL, ""),                  \
        REMOVE(g, "topic", "dispatch-quota", "/{topic}", "dispatchQuota")

const struct command dispatch_commands[] = {
    OF_NAMESPACE("dispatch-rate", "dispatchRate", rate_options, rate_body,
                 "limits what each topic of it sends, if it has no such limit of its own"),
    OF_NAMESPACE("subscription-dispatch-rate", "subscriptionDispatchRate", rate_options, rate_body,
                 "limits what each subscription gets, if its topic has no such limit"),
    OF_NAMESPACE("subscribe-rate", "subscribeRate", subscribe_options, subscribe_body,
                 "limits how often each consumer may subscribe, if its topic has no such limit"),
    OF_NAMESPACE("dispatch-quota", "dispatchQuota", quota_options, quota_body,
                 "limits what all topics of it send together"),
    SET("tenants", "tenant", "dispatch-quota", "/tenants/{tenant}", "dispatchQuota", quota_options,
        quota_body, "limits what all topics of it send together"),
    GET("tenants", "tenant", "dispatch-quota", "/tenants/{tenant}", "dispatchQuota", NULL, ""),
    REMOVE("tenants", "tenant", "dispatch-quota", "/tenants/{tenant}", "dispatchQuota"),
    OF_TOPICS("topics"),
    OF_TOPICS("topicPolicies"),
    END,
};

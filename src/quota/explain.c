/* explain.c - a path as plain facts, and the command that would raise a limit.
 *
 * A suggestion doubles what is used up (or, when nothing is, all that is set) and repeats the other
 * dimension, and burst, peak, weight and dry run, as they are: set-publish-rate sets all, and what
 * is left out becomes unlimited, or as it is by itself. Names are chosen by clients, so a name is
 * quoted unless it is harmless in a shell. */
#include "quota/explain.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/mono.h"

struct explain_scope explain_scope_of(struct scope *s, int64_t now_ns)
{
    return (struct explain_scope){
        .kind = s->kind,
        .side = s->side,
        .name = s->name,
        .source = s->source,
        .spec = *tg_limit_spec_of(&s->limit),
        .balance_msgs = tg_limit_balance_msgs(&s->limit, now_ns),
        .balance_bytes = tg_limit_balance_bytes(&s->limit, now_ns),
        .rate_msgs = tg_meter_rate(&s->msgs, now_ns),
        .rate_bytes = tg_meter_rate(&s->bytes, now_ns),
        .wait_ns = scope_wait_ns(s, now_ns),
        .weight = s->weight,
        .dry_run = s->dry_run,
        .over = s->over,
        .over_ns = dry_run_ns(&s->over, tg_limit_spec_of(&s->limit)),
    };
}

void explain_path(struct explain *out, const struct path *p, int64_t now_ns)
{
    const struct scope *binding = path_binding(p, now_ns);
    *out = (struct explain){.count = p->count};
    for (uint32_t i = 0; i < p->count; i++) {
        out->scope[i] = explain_scope_of(p->scope[i], now_ns);
        out->scope[i].binding = p->scope[i] == binding;
    }
}

struct explain_scope explain_quota(struct quota *q, int64_t now_ns)
{
    struct tg_shared_limit *l = &q->limit;
    struct quota_rates rates = quota_rates(q, now_ns);
    struct dry_run_counts over = quota_dry_run_counts(q);
    return (struct explain_scope){
        .kind = q->kind,
        .side = q->side,
        .name = q->name,
        .source = q->source,
        .spec = l->spec,
        .balance_msgs = tg_shared_limit_balance_msgs(l, now_ns),
        .balance_bytes = tg_shared_limit_balance_bytes(l, now_ns),
        .rate_msgs = rates.msgs,
        .rate_bytes = rates.bytes,
        .wait_ns = quota_is_enforced(q) ? tg_shared_limit_wait_ns(l, now_ns) : 0,
        .weight = q->weight,
        .dry_run = quota_is_dry_run(q),
        .over = over,
        .over_ns = dry_run_ns(&over, &l->spec),
    };
}

/* What to set one dimension to, per second; 0 where it is not limited. */
static int64_t suggestion(const struct tg_rate_spec *r, int64_t period_ns, bool raise)
{
    if (r->rate <= 0)
        return 0;
    __int128 per_s = ((__int128)r->rate * MONO_S + period_ns - 1) / period_ns;
    if (raise)
        per_s *= 2;
    return per_s > TG_RATE_MAX_PER_S ? TG_RATE_MAX_PER_S : (int64_t)per_s;
}

static void append_quoted(struct bytes *out, const char *name, size_t len)
{
    bool plain = len > 0;
    for (size_t i = 0; i < len; i++)
        plain = plain && (isalnum((unsigned char)name[i]) || (name[i] && strchr("/:._-", name[i])));
    if (plain) {
        bytes_append(out, name, len);
        return;
    }
    bytes_append(out, "'", 1);
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\'')
            bytes_append(out, "'\\''", 4);
        else
            bytes_append(out, &name[i], 1);
    }
    bytes_append(out, "'", 1);
}

/* A partition has no policies of its own: its partitioned topic has them. */
static size_t without_partition(const char *name)
{
    static const char mark[] = "-partition-";
    size_t len = strlen(name), digits = len;
    while (digits > 0 && isdigit((unsigned char)name[digits - 1]))
        digits--;
    if (digits == len || digits < sizeof mark - 1)
        return len;
    size_t start = digits - (sizeof mark - 1);
    return memcmp(name + start, mark, sizeof mark - 1) == 0 ? start : len;
}

/* "t/n" of persistent://t/n/x; a namespace's own name is taken as it is. */
static void append_namespace(struct bytes *out, const char *name)
{
    const char *scheme = strstr(name, "://");
    const char *tenant = scheme ? scheme + 3 : name;
    const char *slash = strchr(tenant, '/');
    const char *end = slash ? strchr(slash + 1, '/') : NULL;
    append_quoted(out, tenant, end ? (size_t)(end - tenant) : strlen(tenant));
}

static void append_setting(struct bytes *out, const char *name, int64_t value)
{
    if (value)
        bytes_printf(out, "%stidegate brokers update-dynamic-config --config %s --value %lld",
                     out->len > 0 ? " && " : "", name, (long long)value);
}

/* The broker's own total, or its default of each topic, producer or subscription: of messages, of
 * bytes. */
static const char *broker_setting(const struct explain_scope *s, int bytes)
{
    static const char *const name[LIMIT_SIDES][3][2] = {
        {{"maxPublishRatePerTopicInMessages", "maxPublishRatePerTopicInBytes"},
         {"maxPublishRatePerProducerInMessages", "maxPublishRatePerProducerInBytes"},
         {"brokerPublisherThrottlingMaxMessageRate", "brokerPublisherThrottlingMaxByteRate"}},
        {{"dispatchThrottlingRatePerTopicInMsg", "dispatchThrottlingRatePerTopicInByte"},
         {"dispatchThrottlingRatePerSubscriptionInMsg",
          "dispatchThrottlingRatePerSubscriptionInByte"},
         {"dispatchThrottlingRateInMsg", "dispatchThrottlingRateInByte"}}};
    return name[s->side][s->kind == SCOPE_BROKER ? 2 : s->kind < SCOPE_TOPIC ? 1 : 0][bytes];
}

/* "publish-rate", as the command that sets it ends. */
static const char *policy_word(const struct explain_scope *s)
{
    bool publish = s->side == SIDE_PUBLISH;
    if (s->kind == SCOPE_PRODUCER)
        return "producer-publish-rate";
    if (s->kind == SCOPE_SUBSCRIPTION)
        return "subscription-dispatch-rate";
    if (s->kind == SCOPE_TOPIC)
        return publish ? "publish-rate" : "dispatch-rate";
    return publish ? "publish-quota" : "dispatch-quota";
}

struct raised {
    int64_t msgs, bytes; /* per second; 0: not limited */
};

static void append_options(struct bytes *out, const struct explain_scope *s, struct raised to)
{
    const char *side = limit_side_name(s->side);
    if (to.msgs)
        bytes_printf(out, " --msg-%s-rate %lld", side, (long long)to.msgs);
    if (to.bytes)
        bytes_printf(out, " --byte-%s-rate %lld", side, (long long)to.bytes);
}

/* What the command would set to its default if it were left out. A peak that the new rate is over
 * would be refused: it goes up with the rate. */
static void append_rate_rest(struct bytes *out, const char *unit, const struct tg_rate_spec *r,
                             int64_t period_ns, int64_t to)
{
    struct tg_rate_spec peak = {.rate = r->peak};
    if (to == 0)
        return;
    if (r->burst > 0)
        bytes_printf(out, " --burst-%s %lld", unit, (long long)r->burst);
    if (r->peak > 0)
        bytes_printf(
            out, " --peak-%s %lld", unit,
            (long long)suggestion(&peak, period_ns, suggestion(&peak, period_ns, false) < to));
}

static void append_rest(struct bytes *out, const struct explain_scope *s, struct raised to)
{
    int64_t period_ns = tg_limit_period_ns(&s->spec);
    append_rate_rest(out, "msgs", &s->spec.msgs, period_ns, to.msgs);
    append_rate_rest(out, "bytes", &s->spec.bytes, period_ns, to.bytes);
    if (s->weight > 1)
        bytes_printf(out, " --weight %lu", (unsigned long)s->weight);
    if (s->dry_run)
        bytes_printf(out, " --dry-run");
}

/* Where its policy is set, and as what. */
static void append_policy(struct bytes *out, const struct explain_scope *s)
{
    const char *name = s->kind < SCOPE_TOPIC ? s->topic : s->name;
    if (s->source == LIMIT_FROM_GROUP) {
        bytes_printf(out, "tidegate resourcegroups update ");
        append_quoted(out, name, strlen(name));
    } else if (s->source == LIMIT_FROM_TOPIC) {
        bytes_printf(out, "tidegate topics set-%s ", policy_word(s));
        append_quoted(out, name, without_partition(name));
    } else if (s->source == LIMIT_FROM_SUBSCRIPTION) {
        bytes_printf(out, "tidegate topics set-%s ", policy_word(s));
        append_quoted(out, name, without_partition(name));
        bytes_printf(out, " --subscription ");
        append_quoted(out, s->name, strlen(s->name));
    } else if (s->source == LIMIT_FROM_TENANT) {
        bytes_printf(out, "tidegate tenants set-%s ", policy_word(s));
        append_quoted(out, name, strlen(name));
    } else {
        bytes_printf(out, "tidegate namespaces set-%s ", policy_word(s));
        append_namespace(out, name);
    }
}

static struct raised raised_of(const struct explain_scope *s)
{
    bool short_msgs = s->balance_msgs <= 0, short_bytes = s->balance_bytes <= 0;
    bool neither = !short_msgs && !short_bytes;
    int64_t period_ns = tg_limit_period_ns(&s->spec);
    return (struct raised){suggestion(&s->spec.msgs, period_ns, short_msgs || neither),
                           suggestion(&s->spec.bytes, period_ns, short_bytes || neither)};
}

char *explain_command(const struct explain_scope *s)
{
    struct raised to = raised_of(s);
    struct bytes out = {0};
    bool of_broker = s->source == LIMIT_FROM_BROKER;
    if (s->source == LIMIT_UNSET || (!to.msgs && !to.bytes) ||
        (s->kind < SCOPE_TOPIC && !s->topic && !of_broker))
        return NULL;
    if (of_broker) {
        append_setting(&out, broker_setting(s, 0), to.msgs);
        append_setting(&out, broker_setting(s, 1), to.bytes);
    } else {
        append_policy(&out, s);
        append_options(&out, s, to);
        if (s->source != LIMIT_FROM_GROUP) /* whose command changes what it is given, no more */
            append_rest(&out, s, to);
    }
    char *text = xstrndup((const char *)out.data, out.len);
    bytes_fini(&out);
    return text;
}

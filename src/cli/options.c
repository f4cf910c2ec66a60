/* options.c - options that several groups of commands share, and the body of set-publish-rate,
 * which topics, topicPolicies and namespaces have alike. */
#include <stdio.h>

#include "base/alloc.h"
#include "cli/command.h"
#include "limiter/bucket.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

const struct cli_option no_options[] = {END};

const struct cli_option force_options[] = {
    {.name = "force", .letter = "f", .help = "also when it is in use or not empty"},
    END,
};

const struct cli_option get_policy_options[] = {
    {.name = "applied", .letter = "ap", .help = "what is in force, also where it is inherited"},
    END,
};

const struct cli_option set_rate_options[] = {
    {.name = "msg-publish-rate",
     .letter = "m",
     .takes = "N",
     .help = "messages per second; -1: no limit",
     .is_number = true,
     .min = -1,
     .max = TG_RATE_MAX_PER_S},
    {.name = "byte-publish-rate",
     .letter = "b",
     .takes = "N",
     .help = "bytes per second; -1: no limit",
     .is_number = true,
     .min = -1,
     .max = TG_RATE_MAX_PER_S},
    {.name = "burst-msgs",
     .takes = "N",
     .help = "messages at once after a pause (one second's worth)",
     .is_number = true,
     .min = 1,
     .max = TG_BURST_MAX},
    {.name = "burst-bytes",
     .takes = "N",
     .help = "bytes at once after a pause (one second's worth)",
     .is_number = true,
     .min = 1,
     .max = TG_BURST_MAX},
    {.name = "peak-msgs",
     .takes = "N",
     .help = "messages per second inside a burst (no bound)",
     .is_number = true,
     .min = 1,
     .max = TG_RATE_MAX_PER_S},
    {.name = "peak-bytes",
     .takes = "N",
     .help = "bytes per second inside a burst (no bound)",
     .is_number = true,
     .min = 1,
     .max = TG_RATE_MAX_PER_S},
    {.name = "weight",
     .takes = "N",
     .help = "share where it waits with others for a wider limit (1)",
     .is_number = true,
     .min = 1,
     .max = 1000},
    {.name = "dry-run", .help = "count what it would hold up, hold up nobody"},
    {.name = "period-ms",
     .takes = "N",
     .help = "rates are per this many milliseconds (1000)",
     .is_number = true,
     .min = 1,
     .max = 3600000},
    END,
};

void put_if_given(json_t *j, const struct args *a, const char *option, const char *field)
{
    if (args_has(a, option))
        json_object_set_new(j, field, json_integer(args_number(a, option, 0)));
}

enum tg_err limit_body(const struct call *c, const char *side, json_t **out, char **why)
{
    static const char *const more[][2] = {{"burst-msgs", "BurstInMsg"},
                                          {"burst-bytes", "BurstInByte"},
                                          {"peak-msgs", "PeakInMsg"},
                                          {"peak-bytes", "PeakInByte"}};
    const struct args *a = &c->args;
    char msgs[32], bytes[32], field[48];
    snprintf(msgs, sizeof msgs, "msg-%s-rate", side);
    snprintf(bytes, sizeof bytes, "byte-%s-rate", side);
    if (!args_has(a, msgs) && !args_has(a, bytes) && !args_has(a, "weight")) {
        *why = xasprintf("--%s N, --%s N or --weight N is needed", msgs, bytes);
        return TG_EINVAL; /* the one that is left out becomes unlimited: not both by accident */
    }
    json_t *j = json_object();
    snprintf(field, sizeof field, "%sThrottlingRateInMsg", side);
    json_object_set_new(j, field, json_integer(args_number(a, msgs, -1)));
    snprintf(field, sizeof field, "%sThrottlingRateInByte", side);
    json_object_set_new(j, field, json_integer(args_number(a, bytes, -1)));
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        snprintf(field, sizeof field, "%sThrottling%s", side, more[i][1]);
        put_if_given(j, a, more[i][0], field);
    }
    put_if_given(j, a, "weight", "weight");
    if (args_has(a, "dry-run"))
        json_object_set_new(j, "enforce", json_false());
    *out = j;
    return TG_OK;
}

enum tg_err publish_rate_body(const struct call *c, json_t **out, char **why)
{
    enum tg_err e = limit_body(c, "publish", out, why);
    if (e == TG_OK)
        put_if_given(*out, &c->args, "period-ms", "publishThrottlingPeriodInMs");
    return e;
}

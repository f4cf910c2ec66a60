/* options.c - options that several groups of commands share, and the body of set-publish-rate,
 * which topics, topicPolicies and namespaces have alike. */
#include "base/alloc.h"
#include "cli/command.h"

#define RATE_MAX  (INT64_C(1) << 40) /* the limiter's highest rate */
#define BURST_MAX (RATE_MAX * 3600)

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
     .max = RATE_MAX},
    {.name = "byte-publish-rate",
     .letter = "b",
     .takes = "N",
     .help = "bytes per second; -1: no limit",
     .is_number = true,
     .min = -1,
     .max = RATE_MAX},
    {.name = "burst-msgs",
     .takes = "N",
     .help = "messages at once after a pause (one second's worth)",
     .is_number = true,
     .min = 1,
     .max = BURST_MAX},
    {.name = "burst-bytes",
     .takes = "N",
     .help = "bytes at once after a pause (one second's worth)",
     .is_number = true,
     .min = 1,
     .max = BURST_MAX},
    {.name = "peak-msgs",
     .takes = "N",
     .help = "messages per second inside a burst (no bound)",
     .is_number = true,
     .min = 1,
     .max = RATE_MAX},
    {.name = "peak-bytes",
     .takes = "N",
     .help = "bytes per second inside a burst (no bound)",
     .is_number = true,
     .min = 1,
     .max = RATE_MAX},
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

static void put_if_given(json_t *j, const struct args *a, const char *option, const char *field)
{
    if (args_has(a, option))
        json_object_set_new(j, field, json_integer(args_number(a, option, 0)));
}

enum tg_err publish_rate_body(const struct call *c, json_t **out, char **why)
{
    const struct args *a = &c->args;
    if (!args_has(a, "msg-publish-rate") && !args_has(a, "byte-publish-rate") &&
        !args_has(a, "weight")) {
        *why = xasprintf("--msg-publish-rate N, --byte-publish-rate N or --weight N is needed");
        return TG_EINVAL; /* the one that is left out becomes unlimited: not both by accident */
    }
    json_t *j = json_object();
    json_object_set_new(j, "publishThrottlingRateInMsg",
                        json_integer(args_number(a, "msg-publish-rate", -1)));
    json_object_set_new(j, "publishThrottlingRateInByte",
                        json_integer(args_number(a, "byte-publish-rate", -1)));
    put_if_given(j, a, "burst-msgs", "publishThrottlingBurstInMsg");
    put_if_given(j, a, "burst-bytes", "publishThrottlingBurstInByte");
    put_if_given(j, a, "peak-msgs", "publishThrottlingPeakInMsg");
    put_if_given(j, a, "peak-bytes", "publishThrottlingPeakInByte");
    put_if_given(j, a, "period-ms", "publishThrottlingPeriodInMs");
    put_if_given(j, a, "weight", "weight");
    if (args_has(a, "dry-run"))
        json_object_set_new(j, "enforce", json_false());
    *out = j;
    return TG_OK;
}

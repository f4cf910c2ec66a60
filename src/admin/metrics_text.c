/* metrics_text.c - writing the Prometheus text format (version 0.0.4). A label's value may be any
 * UTF-8; backslash, double quote and line feed are escaped. */
#include <inttypes.h>
#include <math.h>

#include "admin/metrics.h"

void metric_family(struct bytes *out, const char *name, const char *type, const char *help)
{
    bytes_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(struct bytes *out, const char *s)
{
    for (; *s != 0; s++) {
        if (*s == '\n')
            bytes_append(out, "\\n", 2);
        else if (*s == '\\' || *s == '"')
            bytes_printf(out, "\\%c", *s);
        else
            bytes_append(out, s, 1);
    }
}

void metric_sample(struct bytes *out, const char *name, const struct metric_label *labels,
                   size_t count, double value)
{
    bytes_printf(out, "%s", name);
    for (size_t i = 0; i < count; i++) {
        bytes_printf(out, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
        put_escaped(out, labels[i].value);
        bytes_append(out, "\"", 1);
    }
    /* Whole numbers in full: a counter must not lose its last digits. */
    if (fabs(value) < 9007199254740992.0 && floor(value) == value)
        bytes_printf(out, "%s %" PRId64 "\n", count > 0 ? "}" : "", (int64_t)value);
    else
        bytes_printf(out, "%s %.6g\n", count > 0 ? "}" : "", value);
}

/* metrics.h - the Prometheus text format: families of samples, each with HELP and TYPE. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include <stddef.h>

#include "base/bytes.h"

struct metric_label {
    const char *name, *value;
};

/* Begins a family; <type> is "gauge", "counter" or, for a
 * name of Pulsar's that is against what Prometheus expects of these, "untyped". */
void metric_family(struct bytes *out, const char *name, const char *type, const char *help);
/* One sample of it. Values of labels are escaped. */
void metric_sample(struct bytes *out, const char *name, const struct metric_label *labels,
                   size_t count, double value);

#endif

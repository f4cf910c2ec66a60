/* reason.h - why somebody must wait: one enum, used in the gate, the log, metrics, stats, the CLI
 * and (later) the wire. */
#ifndef THROTTLE_REASON_H
#define THROTTLE_REASON_H

#include "quota/scope.h"

enum throttle_reason {
    REASON_PRODUCER,
    REASON_SUBSCRIPTION,
    REASON_TOPIC,
    REASON_PARTITIONED_TOPIC,
    REASON_NAMESPACE,
    REASON_TENANT,
    REASON_RESOURCE_GROUP,
    REASON_BROKER,
    REASON_CONNECTION_IN_FLIGHT,
    REASON_PUBLISH_BUFFER,
    REASON_OUTBOUND_BUFFER,
    REASON_STORAGE_FULL,
    REASON_BLOCKED,
    REASON_COUNT
};

enum throttle_reason reason_of_scope(enum scope_kind k);
const char *reason_name(enum throttle_reason r); /* "topic", "storage full", ... */

#endif

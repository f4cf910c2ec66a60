/* reason.c - the names of the reasons, and which scope gives which. The scopes come first in the
 * enum and in the same order, so a narrower scope is a smaller reason. */
#include "throttle/reason.h"

#include <assert.h>

#include "base/err.h"

static_assert((int)REASON_PRODUCER == (int)SCOPE_PRODUCER &&
                  (int)REASON_SUBSCRIPTION == (int)SCOPE_SUBSCRIPTION &&
                  (int)REASON_TOPIC == (int)SCOPE_TOPIC &&
                  (int)REASON_PARTITIONED_TOPIC == (int)SCOPE_PARTITIONED_TOPIC &&
                  (int)REASON_NAMESPACE == (int)SCOPE_NAMESPACE &&
                  (int)REASON_TENANT == (int)SCOPE_TENANT &&
                  (int)REASON_RESOURCE_GROUP == (int)SCOPE_RESOURCE_GROUP &&
                  (int)REASON_BROKER == (int)SCOPE_BROKER,
              "scope kinds and their reasons are in one order");

enum throttle_reason reason_of_scope(enum scope_kind k)
{
    TG_ASSERT(k <= SCOPE_BROKER);
    return (enum throttle_reason)k;
}

const char *reason_name(enum throttle_reason r)
{
    static const char *const name[] = {
        [REASON_PRODUCER] = "producer",
        [REASON_SUBSCRIPTION] = "subscription",
        [REASON_TOPIC] = "topic",
        [REASON_PARTITIONED_TOPIC] = "partitioned topic",
        [REASON_NAMESPACE] = "namespace",
        [REASON_TENANT] = "tenant",
        [REASON_RESOURCE_GROUP] = "resource group",
        [REASON_BROKER] = "broker",
        [REASON_CONNECTION_IN_FLIGHT] = "connection in flight",
        [REASON_PUBLISH_BUFFER] = "publish buffer",
        [REASON_OUTBOUND_BUFFER] = "outbound buffer",
        [REASON_STORAGE_FULL] = "storage full",
        [REASON_BLOCKED] = "blocked",
        [REASON_COUNT] = "none",
    };
    return name[r];
}

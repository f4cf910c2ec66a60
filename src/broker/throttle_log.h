/* throttle_log.h - one line in the log, and an event, when a throttling starts and when it ends,
 * rate limited: tenant, topic, producer, client address, scope, limit, rate seen. */
#ifndef BROKER_THROTTLE_LOG_H
#define BROKER_THROTTLE_LOG_H

#include "broker/producer.h"

struct subscription;

void throttle_log_began(struct producer *p);
void throttle_log_ended(struct producer *p);
/* The same of a subscription that waits to deliver. */
void throttle_log_dispatch_began(struct subscription *s);
void throttle_log_dispatch_ended(struct subscription *s);

#endif

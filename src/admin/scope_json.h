/* scope_json.h - a scope's limit as JSON, and a producer that waits: the same wherever they are
 * shown. */
#ifndef ADMIN_SCOPE_JSON_H
#define ADMIN_SCOPE_JSON_H

#include <jansson.h>

#include "broker/producer.h"
#include "quota/explain.h"

struct subscription;

json_t *scope_json(const struct explain_scope *s);
/* When what is parked now will have passed at the scope's rate: the longest of both dimensions. */
int64_t explain_until_ns(const struct explain_scope *s, uint64_t messages, uint64_t bytes);
/* A producer that waits, or is held. On its topic's worker. */
json_t *waiting_json(const struct producer *p, int64_t now_ns);
/* A subscription that waits for tokens. On its topic's worker. */
json_t *waiting_subscription_json(const struct subscription *s, int64_t now_ns);

#endif

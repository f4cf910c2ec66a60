/* cursor_store.h - the rows of durable subscriptions: cursor/<t>/<ns>/<local>\n<sub>. A changed
 * cursor is written at most once per cursor_flush_ms; who must know that it is durable waits for a
 * write of its own. Owner: the topic's worker. */
#ifndef BROKER_CURSOR_STORE_H
#define BROKER_CURSOR_STORE_H

#include <jansson.h>

#include "broker/subscription.h"

/* Acknowledged ranges that a row holds: what lies behind is delivered again after a restart. */
enum { CURSOR_RANGES_PERSISTED = 10000 };

char *cursor_row_key(const struct topic_name *n, const char *sub);
/* {"type":..., "durable":true, "properties":{...}, "cursor":{...}} */
json_t *cursor_row(const struct subscription *s);
/* The cursor moved: its row is written soon. No-op for one that is not durable. */
void cursor_store_mark(struct subscription *s);
/* Writes it now, then calls <done>(ctx, s, e); at once when it is not durable. */
void cursor_store_write(struct subscription *s, subscription_done done, void *ctx);
void cursor_store_delete(struct subscription *s, subscription_done done, void *ctx);
void cursor_store_init(struct subscription *s); /* its timers */
void cursor_store_fini(struct subscription *s);

#endif

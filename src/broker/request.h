/* request.h - a client's request that is answered later, when its connection may be gone: enough to
 * find out and to answer. Owner: the connection's worker. */
#ifndef BROKER_REQUEST_H
#define BROKER_REQUEST_H

#include "broker/subscription.h"

struct request {
    struct shard *shard;
    uint64_t conn_id, request_id;
};

struct request *request_new(struct conn *c, uint64_t request_id);
/* SUCCESS, or an error with that text in front of what <e> says; frees it. */
void request_finish(struct request *r, enum tg_err e, const char *what);
/* As a subscription_done, <ctx> being the request. */
void request_sub_done(void *ctx, struct subscription *s, enum tg_err e);

#endif

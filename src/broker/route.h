/* route.h - on which worker a command of a client is handled: where its producer or consumer lives,
 * at the control worker, or at the socket. What a PRODUCER or SUBSCRIBE names is found first
 * (opening.h). Owner: the front's worker. */
#ifndef BROKER_ROUTE_H
#define BROKER_ROUTE_H

#include "broker/front.h"

/* What lives on the front's own worker has no route. */
struct route_key {
    uint64_t id;
    uint64_t kind;
};
struct route {
    UT_hash_handle hh; /* front->routes */
    struct route_key key;
    struct shard *at;
    uint64_t opens; /* how many PRODUCERs and SUBSCRIBEs had gone there with its own */
};

/* Handles the frame here or sends it on its way. */
void route_frame(struct front *f, const struct frame *frame);

/* From now on <id> lives at <at>, by the PRODUCER or SUBSCRIBE of number <opens> that went there;
 * the front's own worker: no route. */
void route_set(struct front *f, enum id_kind kind, uint64_t id, struct shard *at, uint64_t opens);
/* After <opens> of them there was no such id there: its route goes, unless it was opened since. */
void route_forget(struct front *f, enum id_kind kind, uint64_t id, struct shard *at,
                  uint64_t opens);
void routes_free(struct front *f);

/* What is handled on the worker of this conn: for conn.c. NULL: no client may send it. */
command_fn route_handler(int type);

#endif

/* opening.h - a PRODUCER that waits for its topic to be made: what is needed to answer when it is.
 * While it waits its producer id is taken; when the connection or the client gives up first, the
 * answer is dropped. Owner: the connection's worker. */
#ifndef BROKER_OPENING_H
#define BROKER_OPENING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/conn.h"

struct opening {
    struct opening *prev, *next; /* conn->opening while conn != NULL */
    struct conn *conn;           /* NULL: nobody waits for the answer any more */
    uint64_t producer_id, request_id, epoch;
    char *name; /* NULL: the broker makes one */
    bool name_from_user;
    json_t *metadata;           /* or NULL */
    char *initial_subscription; /* or NULL */
};

struct opening *opening_new(struct conn *c, uint64_t producer_id, uint64_t request_id);
/* Takes it out of its connection's list and frees it. */
void opening_free(struct opening *o);
bool opening_exists(const struct conn *c, uint64_t producer_id);
/* The client closed it before it was open. False: there is none. */
bool opening_cancel(struct conn *c, uint64_t producer_id);
void openings_drop_all(struct conn *c); /* the connection is gone */

#endif

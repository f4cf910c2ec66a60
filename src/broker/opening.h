/* opening.h - a PRODUCER or SUBSCRIBE whose topic is being found, and made if it may be: the
 * control worker is asked where it lives, then the command is handled there. While that takes, its
 * id is taken; when the client or the connection gives up first, nothing is opened and nothing
 * answered.
 *
 * Owner: the front's worker, but for what the control worker answers in its letter. */
#ifndef BROKER_OPENING_H
#define BROKER_OPENING_H

#include "broker/letter.h"
#include "broker/names.h"
#include "broker/place.h"
#include "broker/route.h"

struct opening {
    struct letter letter;        /* first: to the control worker and back */
    struct opening *prev, *next; /* front->openings, unless given_up */
    struct shard *from;
    uint64_t conn_id;
    enum id_kind kind;
    uint64_t id, request_id;
    bool given_up;
    struct topic_name name;
    bool may_make;
    struct place_answer answer;
    size_t frame_len;
    uint8_t frame[]; /* the command, as it came */
};

/* Takes <name>. At once when the topic lives here. */
void opening_begin(struct front *f, enum id_kind kind, uint64_t id, uint64_t request_id,
                   struct topic_name *name, bool may_make, const struct frame *frame);
bool opening_exists(const struct front *f, enum id_kind kind, uint64_t id);
/* The client closed it before it was open. False: there is none. */
bool opening_cancel(struct front *f, enum id_kind kind, uint64_t id);
void openings_drop_all(struct front *f); /* the connection is gone */

#endif

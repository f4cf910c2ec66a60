/* parcel.h - what one turn has for the other end of a link (link.h): whole frames, and what the two
 * ends tell each other. Made by the end that fills it, freed by the one that reads it. */
#ifndef BROKER_PARCEL_H
#define BROKER_PARCEL_H

#include "broker/conn.h"
#include "broker/letter.h"

/* An id at the far end that names no producer or consumer there (any more). */
struct gone_id {
    enum id_kind kind;
    uint64_t id;
};

struct parcel {
    struct letter letter; /* first */
    struct link *link;
    size_t len, cap;
    uint8_t *bytes; /* whole frames */
    uint64_t opens; /* PRODUCERs and SUBSCRIBEs in it and in all before it; back: handled so far */
    struct flight flight; /* SENDs in it and in all before it; back: those not in flight so far */
    /* near to far */
    bool is_full; /* the front is at its limit, and waits for <flight> to be told */
    /* far to near */
    bool pausing;         /* some producer there wants the socket unread */
    char *close_why;      /* close the connection, for this reason; or NULL */
    struct gone_id *gone; /* after so many opens */
    uint32_t gone_len, gone_cap;
};

struct parcel *parcel_new(struct link *l);
void parcel_free(struct parcel *p);
/* Room for <n> bytes at its end; the caller adds to <len> what it wrote. */
uint8_t *parcel_reserve(struct parcel *p, size_t n);
void parcel_add_gone(struct parcel *p, enum id_kind kind, uint64_t id);

#endif

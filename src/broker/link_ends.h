/* link_ends.h - what the two ends of a link (link.c: near, link_far.c: far) have of each other: who
 * reads their letters. Included by these two only. */
#ifndef BROKER_LINK_ENDS_H
#define BROKER_LINK_ENDS_H

#include "broker/link.h"

/* A parcel to the far end; one to the near end; one that nobody reads, of either. */
void link_read_out(struct letter *parcel, struct shard *at);
void link_read_back(struct letter *parcel, struct shard *at);
void link_drop_parcel(struct letter *parcel);
/* Far end: what is to go back is posted. */
void link_post_back(struct link *l);
/* The letter <close>, at the far end; <closed>, at the near end; the same when nobody reads it. */
void link_read_close(struct letter *close, struct shard *at);
void link_read_closed(struct letter *closed, struct shard *at);
void link_drop_closed(struct letter *closed);
/* The letter <drained>, at the far end. */
void link_read_drained(struct letter *drained, struct shard *at);

static inline struct budget *link_budget(const struct link *l)
{
    return &l->near_shard->broker->budget;
}

#endif

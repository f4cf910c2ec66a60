/* mail.h - private to net/: one worker's letter box. Many threads put, the owner takes all.
 *
 * A lock-free stack: a put is one compare-and-swap, a take one exchange and a reversal. Order is
 * kept per sender. A closed box takes no more letters. */
#ifndef NET_MAIL_H
#define NET_MAIL_H

#include <stdatomic.h>

#include "net/worker.h"

struct mailbox {
    _Atomic(struct mail *) top; /* newest first; &closed when closed */
    atomic_int waiting;
    struct mail closed;
};

void mailbox_init(struct mailbox *b);
/* Any thread. TG_EBUSY: MAIL_MAX are waiting; TG_ECLOSED. */
TG_MUSTCHECK enum tg_err mailbox_put(struct mailbox *b, struct mail *m);
/* Owner. All letters, oldest first, linked by next; NULL when none. */
struct mail *mailbox_take(struct mailbox *b);
struct mail *mailbox_close(struct mailbox *b); /* takes the last ones and closes */

#endif

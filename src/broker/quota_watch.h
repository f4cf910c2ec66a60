/* quota_watch.h - looks at the use of each quota that is set, once a second, and says so (an event)
 * when it passes 80 % and 100 %. The control worker's. */
#ifndef BROKER_QUOTA_WATCH_H
#define BROKER_QUOTA_WATCH_H

#include "net/worker.h"

struct broker_quota;
struct quotas;

enum quota_usage { USAGE_LOW, USAGE_80, USAGE_100 };

struct quota_watch { /* part of struct quotas; fields private to quota_watch.c */
    struct timer timer;
    struct broker_quota *set; /* list of those with a limit */
    struct broker_quota *at;  /* the next one of this round; NULL: it has ended */
};

void quota_watch_init(struct quota_watch *w);
/* Its limit was set, changed or removed; or it goes. */
void quota_watch_update(struct broker_quota *q, bool is_set);

#endif

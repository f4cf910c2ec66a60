/* explain.h - the answer to "what limits this topic, which of it binds, since when, until when":
 * plain facts about one path, turned into JSON by admin/ and into text by cli/. */
#ifndef QUOTA_EXPLAIN_H
#define QUOTA_EXPLAIN_H

#include "quota/path.h"
#include "quota/quota.h"

struct explain_scope {
    enum scope_kind kind;
    enum limit_side side;
    const char *name;  /* borrowed from the scope */
    const char *topic; /* borrowed; NULL: of a producer or subscription the topic is not known */
    enum limit_source source;
    struct tg_limit_spec spec;
    int64_t balance_msgs, balance_bytes; /* INT64_MAX: not limited */
    double rate_msgs, rate_bytes;        /* now, per second */
    bool binding;                        /* the narrowest that lacks tokens */
    int64_t wait_ns;                     /* until it has tokens again, nobody else waiting */
    uint32_t weight;                     /* 0: 1 */
    bool dry_run;
    struct dry_run_counts over; /* what it would have held up, */
    int64_t over_ns;            /* and for how long in all */
};

struct explain {
    uint32_t count;
    struct explain_scope scope[PATH_SCOPES_MAX];
};

void explain_path(struct explain *out, const struct path *p, int64_t now_ns);
/* The same of one scope; <binding> is left false. */
struct explain_scope explain_scope_of(struct scope *s, int64_t now_ns);
/* The same of one quota; <binding> is left false: who waits knows. On the control worker. */
struct explain_scope explain_quota(struct quota *q, int64_t now_ns);

/* The command that would raise this scope's limit and leave the rest of it as it is, e.g.
 * "tidegate topics set-publish-rate persistent://t/n/x --msg-publish-rate 1000". Caller frees.
 * NULL: it has none, or that of a producer or subscription whose topic is not known. */
char *explain_command(const struct explain_scope *s);

#endif

/* scope.h - a place in the containment tree that a limit can be set on: the one whose name travels
 * as the reason when it is out of tokens.
 *
 * A scope is owned by the worker that owns its topic (later: by its home worker). Its limit may be
 * unset: then it only meters. */
#ifndef QUOTA_SCOPE_H
#define QUOTA_SCOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "limiter/limit.h"
#include "limiter/meter.h"
#include "quota/waits.h"

/* Narrowest first: the order in which a message is charged and a producer waits. */
enum scope_kind {
    SCOPE_PRODUCER,
    SCOPE_SUBSCRIPTION,
    SCOPE_TOPIC, /* one partition */
    SCOPE_PARTITIONED_TOPIC,
    SCOPE_NAMESPACE,
    SCOPE_TENANT,
    SCOPE_RESOURCE_GROUP,
    SCOPE_BROKER,
};

struct waitq; /* throttle/waitq.h: who stands in line here */

/* Where a limit came from, for explain: the narrowest setter wins. */
enum limit_source {
    LIMIT_UNSET,
    LIMIT_FROM_TOPIC,
    LIMIT_FROM_NAMESPACE,
    LIMIT_FROM_TENANT,
    LIMIT_FROM_GROUP,
    LIMIT_FROM_BROKER,
};

struct scope {
    enum scope_kind kind;
    const char *name; /* borrowed from the owner, e.g. persistent://t/n/x */
    struct tg_limit limit;
    enum limit_source source;
    struct tg_meter msgs, bytes; /* admitted */
    struct waits *waits;         /* NULL until somebody has waited: scope_waits */
    struct waitq *waiters;       /* set by throttle/; NULL where nobody can wait */
};

void scope_init(struct scope *s, enum scope_kind kind, const char *name);
void scope_fini(struct scope *s); /* nobody waits */
/* Made when first asked for. */
struct waits *scope_waits(struct scope *s);
/* Sets, changes or (with an unset spec) removes the limit. The caller re-arms the waiters after it
 * (waitq_limit_changed). Returns true when something changed. */
bool scope_set_limit(struct scope *s, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns);

const char *scope_kind_name(enum scope_kind k);     /* "topic", "resource group", ... */
const char *limit_source_name(enum limit_source s); /* "topic policy", "namespace policy", ... */

#endif

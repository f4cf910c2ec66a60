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

/* What a limit is of: what is published, or what is delivered to consumers. */
enum limit_side { SIDE_PUBLISH, SIDE_DISPATCH, LIMIT_SIDES };

struct waitq; /* throttle/waitq.h: who stands in line here */

/* Where a limit came from, for explain: the narrowest setter wins. */
enum limit_source {
    LIMIT_UNSET,
    LIMIT_FROM_SUBSCRIPTION,
    LIMIT_FROM_TOPIC,
    LIMIT_FROM_NAMESPACE,
    LIMIT_FROM_TENANT,
    LIMIT_FROM_GROUP,
    LIMIT_FROM_BROKER,
};

/* What a limit in dry run would have held up: messages that came while it had no tokens. They are
 * not charged; so at the limit's rate it would have taken them that long (dry_run_ns) to pass, too.
 */
struct dry_run_counts {
    uint64_t frames, msgs, bytes; /* since the limit is as it is */
};
int64_t dry_run_ns(const struct dry_run_counts *c, const struct tg_limit_spec *spec);

struct scope {
    /* What a message touches. */
    bool dry_run;
    uint16_t weight; /* of its policy, 0: 1; kept for explain, who stands in line has it, too */
    enum scope_kind kind;
    struct waitq *waiters;       /* set by throttle/; NULL where nobody can wait */
    struct tg_meter msgs, bytes; /* admitted */
    struct tg_limit limit;
    /* The rest. */
    enum limit_side side; /* SIDE_PUBLISH unless the owner says otherwise */
    enum limit_source source;
    const char *name; /* borrowed from the owner, e.g. persistent://t/n/x */
    struct dry_run_counts over;
    struct waits *waits; /* NULL until somebody has waited: scope_waits */
};

void scope_init(struct scope *s, enum scope_kind kind, const char *name);
void scope_fini(struct scope *s); /* nobody waits */
/* Made when first asked for. */
struct waits *scope_waits(struct scope *s);
/* Sets, changes or (with an unset spec) removes the limit. The caller re-arms the waiters after it
 * (waitq_limit_changed). Returns true when something changed. */
bool scope_set_limit(struct scope *s, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns);

/* The limit alone, which follows something: source, and what a dry run has counted, stay. */
bool scope_retune(struct scope *s, const struct tg_limit_spec *spec, int initial_percent,
                  int64_t now_ns);

/* Begins or ends a dry run. True when something changed. */
bool scope_set_dry_run(struct scope *s, bool dry_run);

static inline bool scope_has_tokens(struct scope *s, int64_t now_ns)
{
    return s->dry_run || tg_limit_has_tokens(&s->limit, now_ns);
}
/* Until scope_has_tokens. */
static inline int64_t scope_wait_ns(struct scope *s, int64_t now_ns)
{
    return s->dry_run ? 0 : tg_limit_wait_ns(&s->limit, now_ns);
}
/* A frame was admitted. True: but for the dry run it would not have been. */
static inline bool scope_charge(struct scope *s, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    bool over = s->dry_run && !tg_limit_has_tokens(&s->limit, now_ns);
    tg_meter_add(&s->msgs, msgs, now_ns);
    tg_meter_add(&s->bytes, bytes, now_ns);
    if (!over)
        tg_limit_charge(&s->limit, msgs, bytes, now_ns);
    else
        s->over =
            (struct dry_run_counts){s->over.frames + 1, s->over.msgs + msgs, s->over.bytes + bytes};
    return over;
}

const char *scope_kind_name(enum scope_kind k);     /* "topic", "resource group", ... */
const char *limit_side_name(enum limit_side s);     /* "publish", "dispatch" */
const char *limit_source_name(enum limit_source s); /* "topic policy", "namespace policy", ... */

#endif

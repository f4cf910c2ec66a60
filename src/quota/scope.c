/* scope.c - a scope's life: a name, a limit with its source, and meters.
 *
 * The limit is always changed in place, so that what was spent stays spent: only a dimension that
 * was not limited before starts fresh. The meters run whether or not a limit is set. */
#include "quota/scope.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "quota/terms.h"

void scope_init(struct scope *s, enum scope_kind kind, const char *name)
{
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->name = name;
    s->source = LIMIT_UNSET;
}

void scope_fini(struct scope *s)
{
    free(s->waits);
    s->waits = NULL;
    terms_put(s->limit.terms);
    s->limit = (struct tg_limit){0};
}

struct waits *scope_waits(struct scope *s)
{
    if (s->waits == NULL)
        s->waits = xcalloc(1, sizeof *s->waits);
    return s->waits;
}

bool scope_retune(struct scope *s, const struct tg_limit_spec *spec, int initial_percent,
                  int64_t now_ns)
{
    if (tg_limit_spec_equal(tg_limit_spec_of(&s->limit), spec))
        return false;
    const struct tg_limit_terms *old = s->limit.terms, *terms = terms_get(spec);
    tg_limit_retune(&s->limit, terms, initial_percent, now_ns);
    if (!tg_limit_is_set(&s->limit))
        terms_put(terms);
    terms_put(old);
    return true;
}

bool scope_set_limit(struct scope *s, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns)
{
    if (!scope_retune(s, spec, initial_percent, now_ns) && s->source == source)
        return false;
    s->source = source;
    s->over = (struct dry_run_counts){0, 0, 0};
    return true;
}

bool scope_set_dry_run(struct scope *s, bool dry_run)
{
    bool changed = s->dry_run != dry_run;
    s->dry_run = dry_run;
    if (changed)
        s->over = (struct dry_run_counts){0, 0, 0};
    return changed;
}

static double seconds_of(uint64_t n, int64_t rate, const struct tg_limit_spec *spec)
{
    return rate > 0 ? (double)n / tg_limit_per_second(spec, rate) : 0;
}

int64_t dry_run_ns(const struct dry_run_counts *c, const struct tg_limit_spec *spec)
{
    double msgs_s = seconds_of(c->msgs, spec->msgs.rate, spec);
    double bytes_s = seconds_of(c->bytes, spec->bytes.rate, spec);
    double longest_s = msgs_s > bytes_s ? msgs_s : bytes_s;
    return longest_s < 9e9 ? (int64_t)(longest_s * 1e9) : INT64_MAX;
}

const char *scope_kind_name(enum scope_kind k)
{
    static const char *const name[] = {
        [SCOPE_PRODUCER] = "producer",
        [SCOPE_SUBSCRIPTION] = "subscription",
        [SCOPE_TOPIC] = "topic",
        [SCOPE_PARTITIONED_TOPIC] = "partitioned topic",
        [SCOPE_NAMESPACE] = "namespace",
        [SCOPE_TENANT] = "tenant",
        [SCOPE_RESOURCE_GROUP] = "resource group",
        [SCOPE_BROKER] = "broker",
    };
    return name[k];
}

const char *limit_side_name(enum limit_side s)
{
    return s == SIDE_PUBLISH ? "publish" : "dispatch";
}

const char *limit_source_name(enum limit_source s)
{
    static const char *const name[] = {
        [LIMIT_UNSET] = "none",
        [LIMIT_FROM_SUBSCRIPTION] = "subscription policy",
        [LIMIT_FROM_TOPIC] = "topic policy",
        [LIMIT_FROM_NAMESPACE] = "namespace policy",
        [LIMIT_FROM_TENANT] = "tenant policy",
        [LIMIT_FROM_GROUP] = "resource group",
        [LIMIT_FROM_BROKER] = "broker default",
    };
    return name[s];
}

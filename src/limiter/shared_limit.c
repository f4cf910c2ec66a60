/* shared_limit.c - from what a user sets to the buckets of shared.c, which does the rest. Messages
 * are kind 0 and bytes kind 1; so bucket i is here what it is in limit.c. */
#include "limiter/shared_limit.h"

void tg_shared_limit_init(struct tg_shared_limit *s, const struct tg_limit_spec *spec,
                          int initial_percent, int64_t now_ns)
{
    *s = (struct tg_shared_limit){.spec = *spec};
    tg_shared_limit_retune(s, spec, initial_percent, now_ns);
}

void tg_shared_limit_retune(struct tg_shared_limit *s, const struct tg_limit_spec *spec,
                            int initial_percent, int64_t now_ns)
{
    struct tg_limit_terms terms = tg_limit_terms_make(spec);
    s->spec = *spec;
    tg_shared_retune_all(&s->shared, terms.param, terms.active, initial_percent, now_ns);
}

/* terms.h - what limits come to (limiter/limit.h), kept once for all that are alike: a hundred
 * thousand topics with one default share its terms. Any thread. */
#ifndef QUOTA_TERMS_H
#define QUOTA_TERMS_H

#include "limiter/limit.h"

/* For a specification that has passed tg_limit_check: the caller's until terms_put. */
const struct tg_limit_terms *terms_get(const struct tg_limit_spec *spec);
/* NULL is none. */
void terms_put(const struct tg_limit_terms *t);

#endif

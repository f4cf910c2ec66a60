/* path.c - asking and charging all the scopes of a path.
 *
 * All or none: asking comes first and changes nothing but refills; charging cannot fail, because a
 * bucket above zero takes any frame (it may overdraw once). So there is no half-charged path. */
#include "quota/path.h"

#include <stddef.h>

#include "base/err.h"

void path_add(struct path *p, struct scope *s)
{
    TG_ASSERT(p->count < PATH_SCOPES_MAX);
    TG_ASSERT(p->count == 0 || p->scope[p->count - 1]->kind <= s->kind);
    p->scope[p->count++] = s;
}

struct scope *path_binding(const struct path *p, int64_t now_ns)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (!scope_has_tokens(p->scope[i], now_ns))
            return p->scope[i];
    }
    return NULL;
}

bool path_charge(const struct path *p, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    bool over = false;
    for (uint32_t i = 0; i < p->count; i++)
        over = scope_charge(p->scope[i], msgs, bytes, now_ns) || over;
    return over;
}

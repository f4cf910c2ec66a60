/* parcel.c - see parcel.h. It grows by doubling: a busy link's parcel is a turn's worth of frames.
 */
#include "broker/parcel.h"

#include <stdlib.h>

#include "base/alloc.h"

enum { BYTES_MIN = 1024, GONE_FIRST = 8 };

struct parcel *parcel_new(struct link *l)
{
    struct parcel *p = xcalloc(1, sizeof *p);
    p->link = l;
    return p;
}

void parcel_free(struct parcel *p)
{
    free(p->close_why);
    free(p->gone);
    free(p->bytes);
    free(p);
}

uint8_t *parcel_reserve(struct parcel *p, size_t n)
{
    if (p->cap - p->len < n) {
        size_t cap = p->cap ? p->cap * 2 : BYTES_MIN;
        p->cap = cap - p->len < n ? p->len + n : cap;
        p->bytes = xrealloc(p->bytes, p->cap);
    }
    return p->bytes + p->len;
}

void parcel_add_gone(struct parcel *p, enum id_kind kind, uint64_t id)
{
    if (p->gone_len == p->gone_cap) {
        p->gone_cap = p->gone_cap ? 2 * p->gone_cap : GONE_FIRST;
        p->gone = xrealloc(p->gone, p->gone_cap * sizeof p->gone[0]);
    }
    p->gone[p->gone_len++] = (struct gone_id){kind, id};
}

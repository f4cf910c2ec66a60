/* parking.c - a bounded list of copied frames, first in, first out.
 *
 * Every frame that is in the list is charged to the budget with its header, and every way out of
 * the list goes through parking_drop_head, which gives it back. The bound is soft by one frame: a
 * frame that has been received is kept, and the caller stops the next ones when parking_full. A
 * client whose whole window fits the allowance exactly is so never stopped. */
#include "throttle/parking.h"

#include <string.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/mono.h"

static int64_t memory_of(const struct parked_frame *f)
{
    return (int64_t)xsize(f);
}

void parking_init(struct parking *p, struct budget *budget)
{
    memset(p, 0, sizeof *p);
    p->budget = budget;
}

void parking_allow(struct parking *p, uint64_t messages, uint64_t bytes)
{
    p->allow_messages = messages;
    p->allow_bytes = bytes;
}

/* What passes in <delay_ns>; UINT64_MAX where there is no rate. */
static uint64_t passes_in(const struct tg_rate_spec *r, int64_t period_ns, int64_t delay_ns)
{
    if (r->rate <= 0)
        return UINT64_MAX;
    unsigned __int128 n = (unsigned __int128)r->rate * (uint64_t)delay_ns;
    n /= (uint64_t)period_ns;
    return n > UINT64_MAX ? UINT64_MAX : (uint64_t)n;
}

struct parking_amount parking_passes(const struct tg_limit_spec *spec, int64_t delay_ns)
{
    TG_ASSERT(delay_ns >= 0);
    int64_t period_ns = tg_limit_period_ns(spec);
    return (struct parking_amount){passes_in(&spec->msgs, period_ns, delay_ns),
                                   passes_in(&spec->bytes, period_ns, delay_ns)};
}

void parking_put(struct parking *p, const struct parked_frame *meta, const void *body)
{
    struct parked_frame *f = xmalloc(sizeof *f + meta->len);

    *f = *meta; /* without the flexible body */
    f->next = NULL;
    if (f->len > 0)
        memcpy(f->body, body, f->len);
    budget_force(p->budget, BUDGET_PARKED, memory_of(f));

    if (p->tail)
        p->tail->next = f;
    else
        p->head = f;
    p->tail = f;
    p->frames++;
    p->messages += f->messages;
    p->bytes += f->len;
}

const struct parked_frame *parking_head(const struct parking *p)
{
    return p->head;
}

void parking_drop_head(struct parking *p)
{
    struct parked_frame *f = p->head;

    TG_ASSERT(f != NULL);
    p->head = f->next;
    if (!p->head)
        p->tail = NULL;
    p->frames--;
    p->messages -= f->messages;
    p->bytes -= f->len;
    budget_give(p->budget, BUDGET_PARKED, memory_of(f));
    free(f);
}

void parking_clear(struct parking *p)
{
    while (p->head)
        parking_drop_head(p);
}

bool parking_full(const struct parking *p)
{
    if (p->frames == 0)
        return false;
    bool over = p->messages > p->allow_messages || p->bytes > p->allow_bytes;
    return (over && p->frames > 1) ||
           budget_used(p->budget, BUDGET_PARKED) >= p->budget->share_bytes[BUDGET_PARKED];
}

bool parking_low(const struct parking *p)
{
    if (p->frames == 0)
        return true;
    return p->messages < p->allow_messages / 2 && p->bytes < p->allow_bytes / 2;
}

/* The timer wheel, and the worker's timers on it.
 *
 * Invariant: a timer at level l shares all base-64 digits above l with wheel.tick and has a larger
 * digit l; so the first occupied slot of the lowest non-empty level is the next event, and jumping
 * from event to event never walks through empty slots. A bit of <occupied> is set exactly when its
 * slot has a timer in it (unlink clears it), so nothing wakes the worker for a disarmed timer.
 *
 * A deadline is rounded up to its tick and the present is rounded down: never early. One that has
 * passed when it is armed is not rounded: it is due in the next call. */
#include "net/timer.h"

#include <stddef.h>

#include "base/mono.h"
#include "net/loop.h"

static void list_init(struct timer *head)
{
    head->prev = head->next = head;
}

static bool list_is_empty(const struct timer *head)
{
    return head->next == head;
}

static void list_append(struct timer *head, struct timer *t)
{
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
}

/* Moves all of <from> behind <to>. */
static void list_splice(struct timer *to, struct timer *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

static uint64_t tick_at_or_after(int64_t deadline_ns)
{
    if (deadline_ns <= 0)
        return 0;
    return (uint64_t)(deadline_ns / MONO_MS) + (deadline_ns % MONO_MS != 0);
}

void wheel_init(struct wheel *wh, int64_t now_ns)
{
    *wh = (struct wheel){.now_ns = now_ns, .tick = now_ns > 0 ? (uint64_t)(now_ns / MONO_MS) : 0};
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int i = 0; i < WHEEL_SLOTS; i++)
            list_init(&wh->slot[level][i]);
    list_init(&wh->due);
    list_init(&wh->far);
}

static void place(struct wheel *wh, struct timer *t)
{
    uint64_t tick = tick_at_or_after(t->deadline_ns);
    if (tick <= wh->tick || t->deadline_ns <= wh->now_ns) {
        list_append(&wh->due, t);
        return;
    }
    int level = (63 - __builtin_clzll(tick ^ wh->tick)) / WHEEL_BITS;
    if (level >= WHEEL_LEVELS) {
        list_append(&wh->far, t);
        return;
    }
    unsigned i = (unsigned)(tick >> (level * WHEEL_BITS)) % WHEEL_SLOTS;
    list_append(&wh->slot[level][i], t);
    wh->occupied[level] |= UINT64_C(1) << i;
}

static void unlink_timer(struct wheel *wh, struct timer *t)
{
    struct timer *head = t->prev;
    bool was_last = t->prev == t->next;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
    t->deadline_ns = MONO_NEVER;
    uintptr_t off = (uintptr_t)head - (uintptr_t)wh->slot;
    if (was_last && off < sizeof(wh->slot)) {
        size_t i = off / sizeof(*head);
        wh->occupied[i / WHEEL_SLOTS] &= ~(UINT64_C(1) << i % WHEEL_SLOTS);
    }
}

void wheel_arm(struct wheel *wh, struct timer *t, int64_t deadline_ns)
{
    wheel_disarm(wh, t);
    if (deadline_ns == MONO_NEVER)
        return;
    t->deadline_ns = deadline_ns;
    place(wh, t);
}

void wheel_disarm(struct wheel *wh, struct timer *t)
{
    if (timer_is_armed(t))
        unlink_timer(wh, t);
}

/* The next tick at which a slot must be looked at, and its list; UINT64_MAX: none. */
static uint64_t next_event(const struct wheel *wh, int *level, unsigned *index)
{
    for (int l = 0; l < WHEEL_LEVELS; l++) {
        if (wh->occupied[l] == 0)
            continue;
        unsigned i = (unsigned)__builtin_ctzll(wh->occupied[l]);
        uint64_t above = wh->tick >> ((l + 1) * WHEEL_BITS);
        *level = l;
        *index = i;
        return (above << WHEEL_BITS | i) << (l * WHEEL_BITS);
    }
    *level = WHEEL_LEVELS;
    *index = 0;
    if (list_is_empty(&wh->far))
        return UINT64_MAX;
    return ((wh->tick >> (WHEEL_LEVELS * WHEEL_BITS)) + 1) << (WHEEL_LEVELS * WHEEL_BITS);
}

/* Moves everything due up to <tick> to the due list. */
static void advance(struct wheel *wh, uint64_t tick)
{
    int level;
    unsigned i;
    uint64_t event;
    while ((event = next_event(wh, &level, &i)) <= tick) {
        struct timer *from = level < WHEEL_LEVELS ? &wh->slot[level][i] : &wh->far;
        struct timer taken;
        list_init(&taken);
        list_splice(&taken, from);
        wh->tick = event;
        if (level < WHEEL_LEVELS)
            wh->occupied[level] &= ~(UINT64_C(1) << i);
        if (level == 0) {
            list_splice(&wh->due, &taken);
            continue;
        }
        for (struct timer *t = taken.next, *next; t != &taken; t = next) {
            next = t->next;
            place(wh, t);
        }
    }
    if (tick > wh->tick)
        wh->tick = tick;
}

void wheel_expire(struct wheel *wh, int64_t now_ns)
{
    advance(wh, now_ns > 0 ? (uint64_t)(now_ns / MONO_MS) : 0);
    if (now_ns > wh->now_ns)
        wh->now_ns = now_ns;
    struct timer firing; /* on its own list, so that what is armed meanwhile waits for next time */
    list_init(&firing);
    list_splice(&firing, &wh->due);
    while (!list_is_empty(&firing)) {
        struct timer *t = firing.next;
        unlink_timer(wh, t);
        t->fire(t, now_ns);
    }
}

int64_t wheel_next_ns(const struct wheel *wh)
{
    if (!list_is_empty(&wh->due))
        return 0;
    int level;
    unsigned i;
    uint64_t tick = next_event(wh, &level, &i);
    return tick > (uint64_t)(MONO_NEVER / MONO_MS) ? MONO_NEVER : (int64_t)tick * MONO_MS;
}

void wheel_clear(struct wheel *wh)
{
    struct timer *heads[] = {&wh->due, &wh->far};
    for (int k = 0; k < 2; k++)
        while (!list_is_empty(heads[k]))
            unlink_timer(wh, heads[k]->next);
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int i = 0; i < WHEEL_SLOTS; i++)
            while (!list_is_empty(&wh->slot[level][i]))
                unlink_timer(wh, wh->slot[level][i].next);
}

/* ---- the worker's ---- */

void timer_init(struct timer *t, void (*fire)(struct timer *t, int64_t now_ns))
{
    *t = (struct timer){.deadline_ns = MONO_NEVER, .fire = fire};
}

void timer_arm(struct worker *w, struct timer *t, int64_t deadline_ns)
{
    wheel_arm(&w->wheel, t, deadline_ns);
}

void timer_disarm(struct worker *w, struct timer *t)
{
    wheel_disarm(&w->wheel, t);
}

/* The letter box: the only way into a worker from another thread (beside worker_wake).
 *
 * <waiting> is counted up before a letter is put and down when it is taken, so the box never holds
 * more than MAIL_MAX. The release of the compare-and-swap and the acquire of the exchange hand the
 * letter's content over. */
#include "net/mail.h"

#include <stddef.h>

void mailbox_init(struct mailbox *b)
{
    atomic_init(&b->top, NULL);
    atomic_init(&b->waiting, 0);
    b->closed = (struct mail){0};
}

enum tg_err mailbox_put(struct mailbox *b, struct mail *m)
{
    if (atomic_fetch_add_explicit(&b->waiting, 1, memory_order_relaxed) >= MAIL_MAX) {
        atomic_fetch_sub_explicit(&b->waiting, 1, memory_order_relaxed);
        return TG_EBUSY;
    }
    struct mail *top = atomic_load_explicit(&b->top, memory_order_relaxed);
    do {
        if (top == &b->closed) {
            atomic_fetch_sub_explicit(&b->waiting, 1, memory_order_relaxed);
            return TG_ECLOSED;
        }
        m->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&b->top, &top, m, memory_order_release,
                                                    memory_order_relaxed));
    return TG_OK;
}

static struct mail *take(struct mailbox *b, struct mail *leave)
{
    struct mail *m = atomic_exchange_explicit(&b->top, leave, memory_order_acquire);
    struct mail *oldest = NULL;
    int n = 0;
    while (m != NULL && m != &b->closed) {
        struct mail *next = m->next;
        m->next = oldest;
        oldest = m;
        m = next;
        n++;
    }
    atomic_fetch_sub_explicit(&b->waiting, n, memory_order_relaxed);
    return oldest;
}

struct mail *mailbox_take(struct mailbox *b)
{
    if (atomic_load_explicit(&b->top, memory_order_relaxed) == &b->closed)
        return NULL;
    return take(b, NULL);
}

struct mail *mailbox_close(struct mailbox *b)
{
    return take(b, &b->closed);
}

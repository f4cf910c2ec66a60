/* terms.c - the table of terms in use, by what specifies them.
 *
 * Invariant: an entry is in the table as long as it has users, and there is one per key. The lock
 * is taken where a limit is set or removed, never for a message. */
#include "quota/terms.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"

struct shared_terms {
    struct tg_limit_terms terms; /* first; its spec is the key */
    uint64_t users;
    UT_hash_handle hh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_terms *table;

static struct tg_rate_spec key_of_rate(const struct tg_rate_spec *r)
{
    return r->rate > 0 ? *r : (struct tg_rate_spec){0};
}

/* Equal, byte by byte, for what tg_limit_spec_equal calls equal. */
static struct tg_limit_spec key_of(const struct tg_limit_spec *spec)
{
    if (!tg_limit_spec_is_set(spec))
        return (struct tg_limit_spec){0};
    return (struct tg_limit_spec){.msgs = key_of_rate(&spec->msgs),
                                  .bytes = key_of_rate(&spec->bytes),
                                  .period_ns = tg_limit_period_ns(spec)};
}
static_assert(sizeof(struct tg_limit_spec) == 7 * sizeof(int64_t), "no padding in a key");

static struct shared_terms *add(const struct tg_limit_spec *key)
{
    struct shared_terms *t = xcalloc(1, sizeof *t);
    t->terms = tg_limit_terms_make(key);
    HASH_ADD(hh, table, terms.spec, sizeof t->terms.spec, t);
    return t;
}

const struct tg_limit_terms *terms_get(const struct tg_limit_spec *spec)
{
    struct tg_limit_spec key = key_of(spec);
    struct shared_terms *t;
    pthread_mutex_lock(&lock);
    HASH_FIND(hh, table, &key, sizeof key, t);
    if (t == NULL)
        t = add(&key);
    t->users++;
    pthread_mutex_unlock(&lock);
    return &t->terms;
}

void terms_put(const struct tg_limit_terms *terms)
{
    if (terms == NULL)
        return;
    struct shared_terms *t = (struct shared_terms *)(uintptr_t)terms;
    pthread_mutex_lock(&lock);
    if (--t->users == 0) {
        HASH_DEL(table, t);
        free(t);
    }
    pthread_mutex_unlock(&lock);
}

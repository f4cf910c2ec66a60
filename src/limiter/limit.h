/* limit.h - what a user sets: messages and bytes, each with a rate, a burst and an optional peak.
 *
 * A limit is up to four buckets (rate and peak, of messages and of bytes). A message is admitted
 * only while every bucket is above zero, and is then charged to all of them; so each bucket keeps
 * the contract of bucket.h on its own. Messages counts what a batch holds; bytes are metadata plus
 * payload. One owner; `now_ns` is the owner's monotonic time. */
#ifndef LIMITER_LIMIT_H
#define LIMITER_LIMIT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limiter/bucket.h"

/* One dimension of a limit. rate <= 0: not limited. burst 0: the default (one second's worth, at
 * least 1). peak 0: none; else the most per period inside a burst (must be >= rate). */
struct tg_rate_spec {
    int64_t rate;  /* tokens per period */
    int64_t burst; /* tokens */
    int64_t peak;  /* tokens per period */
};

struct tg_limit_spec {
    struct tg_rate_spec msgs, bytes;
    int64_t period_ns; /* 1 ms .. 1 h; 0 means 1 s */
};

static inline int64_t tg_limit_period_ns(const struct tg_limit_spec *spec)
{
    return spec->period_ns == 0 ? 1000000000 : spec->period_ns;
}
/* So many tokens a period, as many a second. */
static inline double tg_limit_per_second(const struct tg_limit_spec *spec, int64_t tokens)
{
    return (double)tokens * 1e9 / (double)tg_limit_period_ns(spec);
}

enum tg_limit_problem {
    TG_LIMIT_OK = 0,
    TG_LIMIT_RATE_TOO_HIGH, /* over 2^40 tokens a second */
    TG_LIMIT_BAD_PERIOD,    /* not within 1 ms .. 1 h */
    TG_LIMIT_BAD_BURST,     /* negative or over what fits (an hour at 2^40/s) */
    TG_LIMIT_PEAK_BELOW_RATE,
    TG_LIMIT_BURST_SMALL, /* a warning: below 20 ms' worth; the limit is usable */
};

/* Checks a specification; a warning is returned only if there is no error. */
enum tg_limit_problem tg_limit_check(const struct tg_limit_spec *spec);
const char *tg_limit_problem_text(enum tg_limit_problem p);
bool tg_limit_spec_is_set(const struct tg_limit_spec *spec);
bool tg_limit_spec_equal(const struct tg_limit_spec *a, const struct tg_limit_spec *b);

/* What a specification comes to, once it has passed tg_limit_check. Read-only once made, so that
 * any number of limits, of any threads, may share one; it must outlive them. */
struct tg_limit_terms {
    struct tg_limit_spec spec;
    uint32_t active;                  /* bit i: bucket i is in force */
    struct tg_bucket_params param[4]; /* msgs, bytes, msgs peak, bytes peak; the others are unset */
};

struct tg_limit_terms tg_limit_terms_make(const struct tg_limit_spec *spec);

/* The limit itself: fields private to limit.c. Its buckets are always refilled together, so they
 * share the latest instant seen. Zero-initialised it limits nothing. */
struct tg_limit {
    const struct tg_limit_terms *terms; /* NULL: not limited */
    int64_t latest_ns;
    int64_t level[4]; /* of the buckets, as in bucket.h */
};
static_assert(sizeof(struct tg_limit) == 48, "a million idle topics each have one");

/* <initial_percent> of the burst is there at the start (the broker's setting, default 10), and
 * always something, so that a fresh limit admits. */
void tg_limit_init(struct tg_limit *l, const struct tg_limit_terms *terms, int initial_percent,
                   int64_t now_ns);

/* New terms: balances stay (clamped to the new burst), debts stay; a dimension that was not limited
 * before starts like a fresh one. The old terms are still there; afterwards they are not used. */
void tg_limit_retune(struct tg_limit *l, const struct tg_limit_terms *terms, int initial_percent,
                     int64_t now_ns);

/* What it was made of; an unset one where it limits nothing. */
const struct tg_limit_spec *tg_limit_spec_of(const struct tg_limit *l);

static inline bool tg_limit_is_set(const struct tg_limit *l)
{
    return l->terms != NULL;
}

/* The two calls that every message makes are inline, at the end. */

/* True when every bucket is above zero. Refills. */
static inline bool tg_limit_has_tokens(struct tg_limit *l, int64_t now_ns);

/* Charges all buckets; may overdraw each once, by what is charged last. Never fails. */
static inline void tg_limit_charge(struct tg_limit *l, uint64_t msgs, uint64_t bytes,
                                   int64_t now_ns);

/* Gives back tokens that were taken and not used (clamped at the burst). */
void tg_limit_give_back(struct tg_limit *l, uint64_t msgs, uint64_t bytes, int64_t now_ns);

/* How long until tg_limit_has_tokens, in ns, rounded up; 0 when it has them. */
int64_t tg_limit_wait_ns(struct tg_limit *l, int64_t now_ns);

/* What may be charged in one go and leaves no bucket below zero; UINT64_MAX where that is not
 * limited. More than that may pass by tg_limit_has_tokens: it overdraws. */
void tg_limit_room(struct tg_limit *l, uint64_t *msgs, uint64_t *bytes, int64_t now_ns);

/* Balances for people: tokens now (negative: debt); INT64_MAX where that dimension is not limited.
 */
int64_t tg_limit_balance_msgs(struct tg_limit *l, int64_t now_ns);
int64_t tg_limit_balance_bytes(struct tg_limit *l, int64_t now_ns);

/* ---- inline: messages and bytes without peaks, the common case, in a straight line ---- */

#define TG_LIMIT_MSGS_AND_BYTES 3U

/* The same for any set of buckets. */
bool tg_limit_any_has_tokens(struct tg_limit *l, int64_t now_ns);
void tg_limit_any_charge(struct tg_limit *l, uint64_t msgs, uint64_t bytes, int64_t now_ns);

static inline struct tg_bucket tg_limit_bucket(const struct tg_limit *l, int i)
{
    return (struct tg_bucket){.level = l->level[i], .latest_ns = l->latest_ns};
}

static inline bool tg_limit_has_tokens(struct tg_limit *l, int64_t now_ns)
{
    const struct tg_limit_terms *t = l->terms;
    if (t == NULL)
        return true;
    if (t->active != TG_LIMIT_MSGS_AND_BYTES)
        return tg_limit_any_has_tokens(l, now_ns);
    struct tg_bucket msgs = tg_limit_bucket(l, 0), bytes = tg_limit_bucket(l, 1);
    tg_bucket_refill(&msgs, &t->param[0], now_ns);
    tg_bucket_refill(&bytes, &t->param[1], now_ns);
    l->latest_ns = msgs.latest_ns;
    l->level[0] = msgs.level;
    l->level[1] = bytes.level;
    return msgs.level > 0 && bytes.level > 0;
}

static inline void tg_limit_charge(struct tg_limit *l, uint64_t msgs, uint64_t bytes,
                                   int64_t now_ns)
{
    const struct tg_limit_terms *t = l->terms;
    if (t == NULL)
        return;
    if (t->active != TG_LIMIT_MSGS_AND_BYTES) {
        tg_limit_any_charge(l, msgs, bytes, now_ns);
        return;
    }
    struct tg_bucket m = tg_limit_bucket(l, 0), b = tg_limit_bucket(l, 1);
    tg_bucket_charge(&m, &t->param[0], msgs, now_ns);
    tg_bucket_charge(&b, &t->param[1], bytes, now_ns);
    l->latest_ns = m.latest_ns;
    l->level[0] = m.level;
    l->level[1] = b.level;
}

#endif

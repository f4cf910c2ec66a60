/* shared.c - the slow half of a shared bucket: leasing, settling, granting, changing.
 *
 * Invariants, under the lock, for each bucket in force and the kind of its tokens:
 *
 *     leased = the sum of lease.granted (or loan.lent) over all that are not void,   and
 *     level + leased <= burst.
 *
 * The second is the contract. Until a lease is settled nobody but its owner knows how much of it is
 * spent, so that we count it as unspent: the bucket refills to the burst minus <leased> at the most
 * (capped), and always before a lease is settled, since it may have been spent just now. So what
 * the workers hold and what the centre holds is never more than a burst, at any instant, and can
 * only grow by the rate.
 *
 * The allowance for one message is the centre's overdraft. A lease that overdraws must therefore be
 * spent on the message it was granted for, and no other: TG_LEASE_ONCE. Such leases are settled
 * when charged and not at the end of the turn, so that a burst of one message refills meanwhile.
 *
 * When a change of parameters would break the second invariant all leases become void: what is left
 * in them is lost. Taking it out of the balance instead would invent a debt, as long as we do not
 * know what was spent; and it may be large, by the measure of the new rate. */
#include "limiter/shared.h"

#include <stddef.h>

#define AHEAD_NS     UINT64_C(1000000) /* of the rate: the largest lease */
#define AHEAD_PART   8                 /* one part of that many is leased, the others left */
#define LOOK_AGAIN   INT64_C(1000000)  /* ns, where a lease that comes back may change the answer */
#define NO_LIMIT     (UINT64_C(1) << 62)
#define KIND(bucket) ((bucket) % TG_SHARED_KINDS)
#define PEAK(bucket) ((bucket) >= TG_SHARED_KINDS)

__extension__ typedef __int128 i128;

/* ---- the buckets, under the lock ---- */

/* The parameters with a burst that leaves room for what is leased out. */
static struct tg_bucket_params capped(const struct tg_shared *s, int i)
{
    const struct tg_pool *p = &s->pool[i];
    struct tg_bucket_params q = p->params;
    i128 full = q.full - (i128)s->leased[KIND(i)] * (i128)q.per_token;
    q.full = full < p->bucket.level ? p->bucket.level : (int64_t)full;
    return q;
}

static void refill(struct tg_shared *s, int64_t now_ns)
{
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket_params p = capped(s, i);
        tg_bucket_refill(&s->pool[i].bucket, &p, now_ns);
    }
}

/* Until every bucket is above zero. One whose whole burst is leased out does not refill until some
 * of it comes back, nobody knows when. */
static int64_t wait_ns(struct tg_shared *s, int64_t now_ns)
{
    int64_t longest_ns = 0;
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket_params p = capped(s, i);
        int64_t one_ns = tg_bucket_wait_ns(&s->pool[i].bucket, &p, now_ns);
        if (p.full <= 0 && one_ns < LOOK_AGAIN)
            one_ns = LOOK_AGAIN;
        if (one_ns > longest_ns)
            longest_ns = one_ns;
    }
    return longest_ns;
}

static void charge(struct tg_shared *s, const uint64_t n[TG_SHARED_KINDS], int64_t now_ns)
{
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket_params p = capped(s, i);
        tg_bucket_charge(&s->pool[i].bucket, &p, n[KIND(i)], now_ns);
    }
}

static void give_back(struct tg_shared *s, const uint64_t n[TG_SHARED_KINDS], int64_t now_ns)
{
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket_params p = capped(s, i);
        tg_bucket_give_back(&s->pool[i].bucket, &p, n[KIND(i)], now_ns);
    }
}

/* ---- leases, under the lock ---- */

static bool has_limit(const struct tg_shared *s, int kind)
{
    return (s->active >> kind & 5U) != 0; /* its rate, its peak */
}

static bool is_settled(const struct tg_lease *l)
{
    return l->granted[0] == 0 && l->granted[1] == 0;
}

static void take_back(struct tg_lease *l, struct tg_shared *s, int64_t now_ns)
{
    uint64_t unspent[TG_SHARED_KINDS] = {0};
    bool is_void = (l->seen & ~TG_LEASE_ONCE) < s->oldest;
    refill(s, now_ns);
    for (int k = 0; k < TG_SHARED_KINDS && !is_void; k++) {
        if (l->granted[k] == 0)
            continue; /* unlimited then, whatever its credit */
        s->leased[k] -= l->granted[k];
        unspent[k] = l->credit[k];
    }
    give_back(s, unspent, now_ns);
}

/* Leaves an empty lease, also of one that was unlimited. */
static void settle(struct tg_lease *l, struct tg_shared *s, int64_t now_ns)
{
    if (!is_settled(l))
        take_back(l, s, now_ns);
    l->granted[0] = l->granted[1] = 0;
    l->credit[0] = l->credit[1] = 0;
}

/* How much a worker may have at once, of each kind; every bucket is above zero. */
static void find_share(const struct tg_shared *s, uint64_t share[TG_SHARED_KINDS])
{
    share[0] = share[1] = NO_LIMIT;
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        const struct tg_pool *p = &s->pool[i];
        uint64_t part = (uint64_t)p->bucket.level / p->params.per_token / AHEAD_PART;
        if (part > p->ahead)
            part = p->ahead;
        if (part < share[KIND(i)])
            share[KIND(i)] = part;
    }
}

/* Takes a lease for a message of <n>, spent on it already if <spend>. */
static void lease_out(struct tg_lease *l, struct tg_shared *s, const uint64_t n[TG_SHARED_KINDS],
                      bool spend, int64_t now_ns)
{
    uint64_t share[TG_SHARED_KINDS], taken[TG_SHARED_KINDS];
    find_share(s, share);
    bool once = share[0] <= n[0] || share[1] <= n[1];
    for (int k = 0; k < TG_SHARED_KINDS; k++) {
        taken[k] = once ? n[k] : share[k];
        l->credit[k] = spend ? taken[k] - n[k] : taken[k];
        if (has_limit(s, k))
            s->leased[k] += l->granted[k] = l->credit[k];
        else
            l->credit[k] = NO_LIMIT;
    }
    charge(s, taken, now_ns);
    if (once && !spend)
        l->seen |= TG_LEASE_ONCE;
}

static bool look(struct tg_lease *l, struct tg_shared *s, const uint64_t n[TG_SHARED_KINDS],
                 bool spend, int64_t now_ns)
{
    settle(l, s, now_ns);
    l->seen = tg_shared_generation(s);
    l->refused_for_ns = 0;
    if (l->seen & TG_SHARED_BINDING)
        return false;
    int64_t until_ns = wait_ns(s, now_ns);
    if (until_ns > 0) {
        l->refused_ns = now_ns;
        l->refused_for_ns = (uint64_t)(until_ns < LOOK_AGAIN ? until_ns : LOOK_AGAIN);
        return false;
    }
    lease_out(l, s, n, spend, now_ns);
    return true;
}

/* ---- the worker's calls ---- */

bool tg_lease_look(struct tg_lease *l, struct tg_shared *s, uint64_t n0, uint64_t n1, bool spend,
                   int64_t now_ns)
{
    if (tg_shared_is_binding(s) && is_settled(l))
        return false;

    const uint64_t n[TG_SHARED_KINDS] = {n0, n1};
    pthread_mutex_lock(&s->lock);
    bool ok = look(l, s, n, spend, now_ns);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void tg_lease_settle(struct tg_lease *l, struct tg_shared *s, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    settle(l, s, now_ns);
    pthread_mutex_unlock(&s->lock);
}

/* ---- changes ---- */

/* Makes every worker look at the centre. */
static void publish(struct tg_shared *s, uint64_t flag, bool on)
{
    uint64_t generation = tg_shared_generation(s) + TG_SHARED_CHANGE;
    generation = on ? generation | flag : generation & ~flag;
    atomic_store_explicit(&s->generation, generation, memory_order_relaxed);
}

static void retune(struct tg_shared *s, int i, const struct tg_bucket_params *p, int percent,
                   int64_t now_ns)
{
    struct tg_pool *pool = &s->pool[i];
    if (s->active & (1U << i))
        tg_bucket_retune(&pool->bucket, &pool->params, p, now_ns);
    else
        tg_bucket_init_part(&pool->bucket, p, PEAK(i) ? 100 : percent, now_ns);
    pool->params = *p;
    pool->ahead = (uint64_t)((i128)p->per_ns * (i128)AHEAD_NS / (i128)p->per_token);
}

static bool holds_too_much(const struct tg_shared *s, int i)
{
    const struct tg_pool *p = &s->pool[i];
    i128 leased = (i128)s->leased[KIND(i)] * (i128)p->params.per_token;
    return p->bucket.level + leased > p->params.full;
}

void tg_shared_retune_all(struct tg_shared *s, const struct tg_bucket_params p[TG_SHARED_BUCKETS],
                          uint32_t active, int percent, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    publish(s, TG_SHARED_LIMITED, active != 0);
    refill(s, now_ns);
    bool too_much = false;
    for (uint32_t left = active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        retune(s, i, &p[i], percent, now_ns);
        too_much = too_much || holds_too_much(s, i);
    }
    s->active = active;
    if (too_much) {
        s->leased[0] = s->leased[1] = 0;
        s->oldest = tg_shared_generation(s) & ~(TG_SHARED_CHANGE - 1);
    }
    pthread_mutex_unlock(&s->lock);
}

void tg_shared_retune(struct tg_shared *s, const struct tg_bucket_params *p, int percent,
                      int64_t now_ns)
{
    tg_shared_retune_all(s, p, 1, percent, now_ns);
}

void tg_shared_set_unlimited(struct tg_shared *s)
{
    tg_shared_retune_all(s, NULL, 0, 0, TG_SAME_INSTANT);
}

void tg_shared_init(struct tg_shared *s, const struct tg_bucket_params *p, int percent,
                    int64_t now_ns)
{
    *s = (struct tg_shared){.generation = 0};
    pthread_mutex_init(&s->lock, NULL);
    tg_shared_retune(s, p, percent, now_ns);
}

void tg_shared_set_binding(struct tg_shared *s, bool binding)
{
    pthread_mutex_lock(&s->lock);
    if (tg_shared_is_binding(s) != binding)
        publish(s, TG_SHARED_BINDING, binding);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the home worker's calls ---- */

int64_t tg_shared_wait_ns(struct tg_shared *s, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    int64_t until_ns = wait_ns(s, now_ns);
    pthread_mutex_unlock(&s->lock);
    return until_ns;
}

bool tg_shared_has_tokens(struct tg_shared *s, int64_t now_ns)
{
    return tg_shared_wait_ns(s, now_ns) == 0;
}

bool tg_shared_grant_both(struct tg_shared *s, uint64_t n0, uint64_t n1, int64_t now_ns)
{
    const uint64_t n[TG_SHARED_KINDS] = {n0, n1};
    pthread_mutex_lock(&s->lock);
    bool ok = wait_ns(s, now_ns) == 0;
    if (ok)
        charge(s, n, now_ns);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void tg_shared_give_back_both(struct tg_shared *s, uint64_t n0, uint64_t n1, int64_t now_ns)
{
    const uint64_t n[TG_SHARED_KINDS] = {n0, n1};
    pthread_mutex_lock(&s->lock);
    give_back(s, n, now_ns);
    pthread_mutex_unlock(&s->lock);
}

/* The part of <most> that every bucket has, but at least <least>; every bucket is above zero. */
static void find_part(const struct tg_shared *s, const uint64_t least[TG_SHARED_KINDS],
                      const uint64_t most[TG_SHARED_KINDS], uint64_t part[TG_SHARED_KINDS])
{
    uint64_t num = 1, den = 1; /* the least proportion */
    for (uint32_t left = s->active; left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        uint64_t there = (uint64_t)s->pool[i].bucket.level / s->pool[i].params.per_token;
        uint64_t wanted = most[KIND(i)];
        if (there < wanted && (i128)there * den < (i128)num * wanted) {
            num = there;
            den = wanted;
        }
    }
    for (int k = 0; k < TG_SHARED_KINDS; k++) {
        part[k] = num == den ? most[k] : (uint64_t)((i128)most[k] * num / den);
        if (part[k] < least[k])
            part[k] = least[k];
    }
}

static bool is_overdrawn(const struct tg_shared *s)
{
    bool any = false;
    for (uint32_t left = s->active; left != 0; left &= left - 1)
        any = any || s->pool[__builtin_ctz(left)].bucket.level < 0;
    return any;
}

static void lend(struct tg_shared *s, struct tg_loan *l, const uint64_t n[TG_SHARED_KINDS],
                 int64_t now_ns)
{
    if (l->seen < s->oldest) /* void: what is lent from now on is not */
        l->lent[0] = l->lent[1] = 0;
    bool is_new = l->lent[0] == 0 && l->lent[1] == 0;
    l->seen = is_new ? tg_shared_generation(s) : l->seen;
    for (int k = 0; k < TG_SHARED_KINDS; k++) {
        uint64_t counted = has_limit(s, k) ? n[k] : 0;
        l->lent[k] += counted;
        s->leased[k] += counted;
    }
    charge(s, n, now_ns);
    l->overdrawn = (!is_new && l->overdrawn) || is_overdrawn(s);
}

bool tg_shared_lend(struct tg_shared *s, struct tg_loan *l, const uint64_t least[TG_SHARED_KINDS],
                    const uint64_t most[TG_SHARED_KINDS], uint64_t got[TG_SHARED_KINDS],
                    int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    bool ok = wait_ns(s, now_ns) == 0;
    if (ok) {
        find_part(s, least, most, got);
        lend(s, l, got, now_ns);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

void tg_shared_settle_loan(struct tg_shared *s, struct tg_loan *l,
                           const uint64_t unspent[TG_SHARED_KINDS],
                           const uint64_t spent[TG_SHARED_KINDS], int64_t now_ns)
{
    uint64_t back[TG_SHARED_KINDS];

    pthread_mutex_lock(&s->lock);
    refill(s, now_ns);
    bool is_void = l->seen < s->oldest;
    for (int k = 0; k < TG_SHARED_KINDS; k++) {
        back[k] = at_most(unspent[k], l->lent[k]);
        uint64_t settled = back[k] + at_most(spent[k], l->lent[k] - back[k]);
        l->lent[k] -= settled;
        s->leased[k] -= is_void ? 0 : settled;
        back[k] = is_void ? 0 : back[k];
    }
    give_back(s, back, now_ns);
    pthread_mutex_unlock(&s->lock);
}

int64_t tg_shared_balance_of(struct tg_shared *s, int i, int64_t now_ns)
{
    int64_t tokens = INT64_MAX;
    pthread_mutex_lock(&s->lock);
    if (s->active & (1U << i)) {
        struct tg_bucket_params p = capped(s, i);
        tokens = tg_bucket_balance(&s->pool[i].bucket, &p, now_ns);
    }
    pthread_mutex_unlock(&s->lock);
    return tokens;
}

bool tg_shared_grant(struct tg_shared *s, uint64_t n, int64_t now_ns)
{
    return tg_shared_grant_both(s, n, 0, now_ns);
}

void tg_shared_give_back(struct tg_shared *s, uint64_t n, int64_t now_ns)
{
    tg_shared_give_back_both(s, n, 0, now_ns);
}

int64_t tg_shared_balance(struct tg_shared *s, int64_t now_ns)
{
    return tg_shared_balance_of(s, 0, now_ns);
}

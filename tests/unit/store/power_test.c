/* Power cuts. A store works for a while on a disk that is traced (power_trace.h); then the
 * directory is made as cuts at random moments could have left it, and each is opened again:
 *
 *   - the start never finds damage, for a power cut does none;
 *   - what was acknowledged is there, unchanged and in order; what was only asked for is there or
 *     not, but never half;
 *   - a bit that is flipped in what had been on disk is never taken for a torn tail: the start or
 *     the read says that it is damaged, and so does `store verify`, which finds nothing otherwise.
 *
 * The work goes on from one of the images, so there are cuts after cuts, and cuts of a recovery;
 * and the process is killed now and then, after which the log must be whole as well.
 *
 * ROUNDS=n: so many cuts; SEED=n: where the first trace begins. An image that fails is kept, and
 * its path is printed: POWER_IMAGE=path opens it again. */
#include "power_work.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS_USUAL 30
#else
#define ROUNDS_USUAL 100
#endif
#define CUTS_PER_TRACE 12

struct scene {
    char dir[64];
    struct budget budget;
    uint64_t rng;
    enum ls_durability durability;
    uint64_t copied_bytes;
    char verdict[2000];
    char failure[512]; /* of the last check; empty: none */
};

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *v = getenv(variable);
    return v ? strtoull(v, NULL, 10) : otherwise;
}

static enum tg_err open_log(struct scene *s, const struct ls_faults *faults,
                            struct ledger_store **out)
{
    struct log_config cfg = {.dir = s->dir,
                             .durability = s->durability,
                             .segment_bytes = PW_SEGMENT,
                             .budget = &s->budget,
                             .faults = faults};
    char *why;
    enum tg_err e = log_open(out, &cfg, &why);
    if (e)
        snprintf(s->failure, sizeof s->failure, "%s", why);
    free(why);
    return e;
}

/* ---- checking what is there ---- */

struct reading {
    struct scene *scene;
    const struct pw_ledger *want;
    uint64_t ledger, next, read;
    bool may_be_damaged, damaged, end;
    struct ls_port *port;
};

static void fail_read(struct reading *r, const char *what)
{
    if (!r->scene->failure[0])
        snprintf(r->scene->failure, sizeof r->scene->failure, "ledger %llu, entry %llu: %s",
                 (unsigned long long)r->ledger, (unsigned long long)r->next, what);
    r->end = true;
}

static void on_read(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                    struct ls_hold *hold)
{
    struct reading *r = ctx;
    if (e == TG_ECORRUPT && r->may_be_damaged) {
        r->damaged = true;
        r->next++;
    } else if (e) {
        fail_read(r, err_text(e));
    }
    for (uint32_t i = 0; i < count && !r->end; i++) {
        uint64_t needed = r->next > r->want->trimmed ? r->next : r->want->trimmed;
        if (entries[i].entry < r->next || entries[i].entry > needed)
            fail_read(r, entries[i].entry < r->next ? "out of order" : "it is missing");
        else if (!pw_good(&entries[i], r->ledger))
            fail_read(r, "it has changed");
        r->next = entries[i].entry + 1;
        r->read++;
    }
    r->end = r->end || (!e && count == 0);
    ls_entries_release(r->port, hold);
}

static void check_ledger(struct reading *r, struct ledger_store *store, struct pw_ledger *have)
{
    uint64_t count = ls_last_entry(store, r->ledger) + 1; /* LS_NO_ENTRY + 1: 0 */
    bool gone = count == 0 && r->want->dropped;
    pw_found(have, count);
    r->next = 0;
    r->end = gone;
    if (!gone && (count < r->want->acked || count > r->want->appended))
        snprintf(r->scene->failure, sizeof r->scene->failure,
                 "ledger %llu: %llu entries, %llu acknowledged, %llu appended",
                 (unsigned long long)r->ledger, (unsigned long long)count,
                 (unsigned long long)r->want->acked, (unsigned long long)r->want->appended);
    while (!r->end && !r->scene->failure[0]) {
        ls_read(r->port, r->ledger, r->next, 100, 1 << 20, on_read, r);
        ls_port_finish_reads(r->port);
    }
    if (!gone && r->next < count && r->want->trimmed < count)
        fail_read(r, "it is missing, and all behind it");
}

static void quiet_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e)
{
    (void)port_ctx, (void)ctx, (void)ledger, (void)entry, (void)e;
}
static void quiet_state(void *port_ctx, enum ls_state state, const char *why)
{
    (void)port_ctx, (void)state, (void)why;
}
static void quiet_wake(void *port_ctx)
{
    (void)port_ctx;
}

/* Compares what is in the store with <m>, which then says what was there. True: something could not
 * be read, for damage. */
static bool check_store(struct scene *s, struct ledger_store *store, struct pw_model *m,
                        bool flipped)
{
    static const struct ls_port_ops ops = {quiet_append, quiet_state, quiet_wake};
    struct reading r = {.scene = s, .may_be_damaged = flipped};
    r.port = ls_port_open(store, &ops, NULL);
    for (r.ledger = 0; r.ledger < PW_LEDGERS && !s->failure[0]; r.ledger++) {
        struct pw_ledger want = m->ledgers[r.ledger];
        r.want = &want;
        if (want.appended)
            check_ledger(&r, store, &m->ledgers[r.ledger]);
        else if (ls_last_entry(store, r.ledger) != LS_NO_ENTRY)
            snprintf(s->failure, sizeof s->failure, "ledger %llu was never made, or is gone",
                     (unsigned long long)r.ledger);
    }
    ls_port_close(r.port);
    return r.damaged;
}

/* What `store verify` says. */
static bool verify_finds_damage(struct scene *s)
{
    struct log_findings found;
    char *text, *why;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    enum tg_err e = log_verify(s->dir, out, &found, &why);
    fclose(out);
    snprintf(s->verdict, sizeof s->verdict, "%s", text);
    assert_null(why);
    free(text);
    return e == TG_ECORRUPT;
}

/* The same with what is in the directory. <flipped>: a bit was; damage may be found, but nothing
 * may be missing without a word. */
static void check_directory(struct scene *s, struct pw_model *m, bool flipped)
{
    struct ledger_store *store;
    s->failure[0] = 0;
    bool found = verify_finds_damage(s);
    if (found && !flipped)
        snprintf(s->failure, sizeof s->failure, "verify: %.300s", s->verdict);
    enum tg_err e = s->failure[0] ? TG_EINVAL : open_log(s, NULL, &store);
    bool damaged = flipped && e == TG_ECORRUPT;
    if (damaged)
        s->failure[0] = 0;
    if (!e) {
        damaged = check_store(s, store, m, flipped);
        ls_close(store);
    }
    if (damaged && !found && !s->failure[0])
        snprintf(s->failure, sizeof s->failure, "verify did not find it");
}

/* ---- flipping ---- */

static bool footer_arrived(const uint8_t *p, const struct seg_trailer *t)
{
    const struct record *r = (const struct record *)(const void *)(p + t->footer_offset);
    return rec_header_ok(r, t->generation, t->footer_offset) && r->body_len == t->body_len &&
           crc32c(0, r + 1, r->body_len) == r->body_crc;
}

/* A place in file <f> that was on disk for sure and means something; 0: there is none. Of a segment
 * that is not sealed that is what a group header vouches for. */
static uint64_t place_to_flip(const struct pt_image *im, int f, uint64_t *rng)
{
    const uint8_t *p = im->bytes[f];
    uint64_t size = im->size[f], vouched = 0;
    struct seg_header h;
    struct seg_trailer t;
    if (size < SEG_DATA_START + sizeof t)
        return 0;
    memcpy(&h, p, sizeof h);
    memcpy(&t, p + size - sizeof t, sizeof t);
    if (seg_trailer_ok(&t, h.generation, size) &&
        footer_arrived(p, &t)) /* any byte of it but the header page's rest */
        return SEG_DATA_START + pt_random(rng) % (size - SEG_DATA_START);
    for (uint64_t at = SEG_DATA_START; at + sizeof(struct record) <= size; at += REC_ALIGN) {
        struct record r;
        memcpy(&r, p + at, sizeof r);
        if (rec_header_ok(&r, h.generation, at) && r.type == REC_GROUP && r.entry > vouched)
            vouched = r.entry;
    }
    if (vouched <= SEG_DATA_START)
        return 0;
    return SEG_DATA_START + pt_random(rng) % (vouched - SEG_DATA_START);
}

static bool flip_something(struct pt_image *im, uint64_t *rng, char *what, size_t what_size)
{
    if (im->entry_count == 0)
        return false;
    int i = (int)(pt_random(rng) % (uint64_t)im->entry_count), f = im->entries[i].file;
    if (strncmp(im->entries[i].name, "seg-", 4) != 0)
        return false;
    uint64_t at = place_to_flip(im, f, rng);
    if (at == 0)
        return false;
    int bit = (int)(pt_random(rng) % 8);
    im->bytes[f][at] ^= (uint8_t)(1 << bit);
    snprintf(what, what_size, "%s, bit %d of byte %llu flipped", im->entries[i].name, bit,
             (unsigned long long)at);
    return true;
}

/* ---- rounds ---- */

/* Half of the cuts are beside something rarer than a write. */
static uint32_t choose_cut(const struct pt *t, uint64_t *rng)
{
    uint32_t cut = (uint32_t)(pt_random(rng) % (t->count + 1));
    if (pt_random(rng) % 2)
        return cut;
    while (cut < t->count && (t->events[cut].type == PT_WRITE || t->events[cut].type == PT_NOTE))
        cut++;
    return cut < t->count ? cut + (uint32_t)(pt_random(rng) % 2) : cut;
}

static void keep_failure(struct scene *s, const struct pt_image *im, const struct pw_model *want,
                         const char *what)
{
    char kept[64] = "/tmp/tidegate-power-failed-XXXXXX", path[128];
    TG_ASSERT(mkdtemp(kept));
    pt_write_image(im, kept);
    snprintf(path, sizeof path, "%s/model", kept);
    fx_store(path, (const uint8_t *)want, sizeof *want);
    print_error("%s%s%s\nthe directory before it was opened is %s: POWER_IMAGE=%s opens it again\n",
                what, *what ? ": " : "", s->failure, kept, kept);
    fail();
}

/* One cut of <t>, which began with <before>. Returns the image; *after: what was there. */
static struct pt_image *one_round(struct scene *s, const struct pt *t,
                                  const struct pw_model *before, struct pw_model *after)
{
    uint32_t cut = choose_cut(t, &s->rng);
    struct pw_model want = *before;
    char what[128] = "";
    pw_expect(t, cut, &want);
    struct pt_image *im = pt_cut(t, cut, pt_random(&s->rng));
    pt_write_image(im, s->dir);
    *after = want;
    check_directory(s, after, false);
    if (s->failure[0])
        keep_failure(s, im, &want, what);
    for (int i = 0; i < 3; i++) {
        struct pt_image *bad = xcalloc(1, sizeof *bad);
        *bad = *im;
        for (int f = 0; f < PT_FILES; f++)
            if (im->bytes[f]) {
                bad->bytes[f] = xmalloc(im->size[f] + 1);
                memcpy(bad->bytes[f], im->bytes[f], im->size[f]);
            }
        if (flip_something(bad, &s->rng, what, sizeof what)) {
            struct pw_model model = want;
            pt_write_image(bad, s->dir);
            check_directory(s, &model, true);
            if (s->failure[0])
                keep_failure(s, bad, &want, what);
        }
        pt_image_free(bad);
    }
    return im;
}

/* A process: starts, finds what is there, works, and ends in order or is killed, perhaps while it
 * starts. */
static void one_life(struct scene *s, struct pt *t, struct pw_model *m, bool killed)
{
    struct pt_life life = {.trace = t, .until = UINT32_MAX};
    uint64_t when = pt_random(&s->rng);
    if (killed && when % 2)
        life.until = t->count + (uint32_t)(when / 2 % 1500);
    else if (killed)
        life.renames = 1 + (uint32_t)(when / 2 % 20);
    struct ls_faults hooks = pt_hooks(&life);
    struct ledger_store *store;
    static struct pw_model found;
    s->failure[0] = 0;
    uint64_t seed = pt_random(&s->rng);
    if (open_log(s, &hooks, &store)) {
        if (life.until)
            fail_msg("after a kill: %s", s->failure);
        return;
    }
    found = *m;
    check_store(s, store, &found, false);
    pthread_mutex_lock(&t->lock);
    bool dead = life.until == 0; /* killed while we looked */
    pthread_mutex_unlock(&t->lock);
    if (dead) {
        ls_close(store);
        return;
    }
    if (s->failure[0])
        fail_msg("after a kill: %s", s->failure);
    *m = found;
    for (uint64_t l = 0; l < PW_LEDGERS; l++)
        if (m->ledgers[l].appended || m->ledgers[l].dropped)
            pt_note(t, PW_FOUND, l, m->ledgers[l].appended);
    pw_run(store, &life, m, seed, 20 + (int)(seed % 200));
    struct ls_stats st;
    ls_stats(store, &st);
    s->copied_bytes += st.copied_bytes;
    ls_close(store);
}

static struct pt *one_trace(struct scene *s, struct pw_model *m)
{
    char log_dir[128];
    snprintf(log_dir, sizeof log_dir, "%s/log", s->dir);
    struct pt *t = pt_begin(log_dir);
    for (uint64_t lives = 1 + pt_random(&s->rng) % 3; lives; lives--)
        one_life(s, t, m, lives > 1);
    return t;
}

static void test_power_cuts(void **state)
{
    struct scene *s = *state;
    uint64_t rounds = number_of("ROUNDS", ROUNDS_USUAL);
    uint64_t seed = number_of("SEED", (uint64_t)mono_now_ns() % 1000000);
    static struct pw_model model, after;
    print_message("SEED=%llu ROUNDS=%llu\n", (unsigned long long)seed, (unsigned long long)rounds);
    s->rng = seed;
    for (uint64_t done = 0, traces = 0; done < rounds; traces++) {
        if (traces % 6 == 0) { /* begin anew now and then */
            memset(&model, 0, sizeof model);
            fx_remove_dir(s->dir);
            mkdir(s->dir, 0750);
        }
        struct pw_model before = model;
        struct pt *t = one_trace(s, &model);
        struct pt_image *im = NULL;
        for (int i = 0; i < CUTS_PER_TRACE && done < rounds; i++, done++) {
            if (im)
                pt_image_free(im);
            im = one_round(s, t, &before, &after);
        }
        pt_write_image(im, s->dir);
        pt_image_free(im);
        pt_free(t);
        model = after;
    }
    assert_true(s->copied_bytes > 0);
}

/* In LS_OS mode a power cut may lose what it likes, but the end of a process nothing. */
static void test_kills_in_os_mode(void **state)
{
    struct scene *s = *state;
    char log_dir[128];
    static struct pw_model model;
    s->durability = LS_OS;
    s->rng = number_of("SEED", (uint64_t)mono_now_ns() % 1000000);
    print_message("SEED=%llu\n", (unsigned long long)s->rng);
    snprintf(log_dir, sizeof log_dir, "%s/log", s->dir);
    struct pt *t = pt_begin(log_dir);
    for (int lives = 15; lives; lives--)
        one_life(s, t, &model, lives > 1);
    pt_free(t);
}

static void test_kept_image(void **state)
{
    struct scene *s = *state;
    const char *kept = getenv("POWER_IMAGE");
    static struct pw_model model;
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "%s/model", kept);
    uint8_t *bytes = fx_load(path, &size);
    assert_int_equal(size, sizeof model);
    memcpy(&model, bytes, size);
    free(bytes);
    snprintf(path, sizeof path, "rm -rf %s && cp -r %.300s %s", s->dir, kept, s->dir);
    assert_int_equal(system(path), 0);
    check_directory(s, &model, getenv("POWER_FLIPPED") != NULL);
    if (s->failure[0])
        fail_msg("%s", s->failure);
}

static int setup(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    log_set_level(LOG_ERROR + 1);
    snprintf(s->dir, sizeof s->dir, "/tmp/tidegate-power-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    budget_init(&s->budget, FX_MEMORY);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    fx_remove_dir(s->dir);
    free(s);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_power_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kills_in_os_mode, setup, teardown),
    };
    const struct CMUnitTest replay[] = {
        cmocka_unit_test_setup_teardown(test_kept_image, setup, teardown),
    };
    return getenv("POWER_IMAGE") ? cmocka_run_group_tests(replay, NULL, NULL)
                                 : cmocka_run_group_tests(tests, NULL, NULL);
}

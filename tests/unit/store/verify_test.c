/* `store verify`: it finds whatever is changed in bytes that somebody may read, says where, and
 * finds nothing where nothing is wrong, also in a directory that is in use. */
#include "power_work.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 503
#else
#define STEPS 61
#endif

struct outcome {
    enum tg_err err;
    struct log_findings found;
    char *text;
};

static struct outcome verify(const char *dir)
{
    struct outcome o;
    size_t len;
    char *why;
    FILE *out = open_memstream(&o.text, &len);
    o.err = log_verify(dir, out, &o.found, &why);
    fclose(out);
    if (why)
        print_error("%s\n", why);
    assert_null(why);
    return o;
}

static void expect_good(struct fx *f)
{
    struct outcome o = verify(f->dir);
    if (o.err)
        print_error("%s", o.text);
    assert_int_equal(o.err, TG_OK);
    assert_int_equal(o.found.problems, 0);
    free(o.text);
}

/* One line has all of <words>. */
static void expect_line(const struct outcome *o, const char *const *words)
{
    char *text = xstrdup(o->text), *rest = text;
    bool found = false;
    for (char *line; (line = strsep(&rest, "\n"));) {
        bool all = true;
        for (const char *const *w = words; *w; w++)
            all = all && strstr(line, *w);
        found = found || all;
    }
    if (!found)
        print_error("no line with '%s' in:\n%s", words[0], o->text);
    assert_true(found);
    free(text);
}

#define EXPECT_PROBLEM(f, stops, ...)                                                              \
    do {                                                                                           \
        static const char *const words_[] = {__VA_ARGS__, NULL};                                   \
        struct outcome o_ = verify((f)->dir);                                                      \
        assert_int_equal(o_.err, TG_ECORRUPT);                                                     \
        assert_int_equal(o_.found.stopping > 0, stops);                                            \
        expect_line(&o_, words_);                                                                  \
        free(o_.text);                                                                             \
    } while (0)

/* Sealed segments with runs of several ledgers, one of them deleted, others trimmed and copied, and
 * an open one. All bodies are multiples of 8 bytes: no padding, every byte is under a checksum. */
static void make_log(struct fx *f)
{
    fx_open(f);
    uint64_t n = 0;
    for (uint64_t i = 0; i < 40; i++, n += 20) {
        fx_fill(f, 2, i, 1, 104);
        fx_fill(f, 1, n, 20, 304);
        if (i < 10)
            fx_fill(f, 3, i, 1, 200);
    }
    ls_drop(f->port, 3);
    ls_trim(f->port, 1, n / 2);
    ls_port_submit(f->port);
    struct ls_stats st;
    do {
        fx_turn(f, MONO_MS);
        ls_stats(f->store, &st);
    } while (st.copied_bytes == 0 || st.segments > 4);
    fx_fill(f, 1, n, 5, 304);
    fx_close(f);
}

/* The segments there are, ascending. */
static uint32_t list_segments(const struct fx *f, uint32_t *out)
{
    uint32_t n = 0;
    for (uint32_t g = 1; g < 100; g++) {
        char path[128];
        fx_seg_path(f, path, g);
        if (access(path, F_OK) == 0)
            out[n++] = g;
    }
    return n;
}

static struct seg_trailer trailer_of(const uint8_t *bytes, size_t size)
{
    struct seg_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    return t;
}

/* Where the first record of <type> is. */
static uint64_t find_record(const uint8_t *bytes, size_t size, uint32_t generation, int type)
{
    for (uint64_t at = SEG_DATA_START; at + sizeof(struct record) <= size; at += REC_ALIGN) {
        const struct record *r = (const struct record *)(const void *)(bytes + at);
        if (rec_header_ok(r, generation, at) && r->type == type)
            return at;
    }
    return 0;
}

static void test_nothing_is_wrong_with_a_good_log(void **state)
{
    struct fx *f = *state;
    make_log(f);
    struct outcome o = verify(f->dir);
    assert_int_equal(o.err, TG_OK);
    assert_string_equal(o.text, "");
    assert_true(o.found.entries > 400);
    assert_true(o.found.segments >= 2 && o.found.bytes >= o.found.segments * FX_SEGMENT);
    assert_false(o.found.in_use);
    free(o.text);
    fx_open(f);
    o = verify(f->dir);
    assert_int_equal(o.err, TG_OK);
    assert_true(o.found.in_use);
    free(o.text);
}

static void test_every_byte_of_a_sealed_segment_matters(void **state)
{
    struct fx *f = *state;
    char path[128];
    uint32_t g[100];
    make_log(f);
    list_segments(f, g);
    fx_seg_path(f, path, g[0]);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    struct seg_trailer t = trailer_of(bytes, size);
    assert_true(seg_trailer_ok(&t, g[0], size));
    uint64_t footer_end = t.footer_offset + sizeof(struct record) + t.body_len;
    uint64_t step = 0;
    for (uint64_t at = 0; at < size; at += 1 + step++ % STEPS) {
        bool used = at < sizeof(struct seg_header) || (at >= SEG_DATA_START && at < footer_end) ||
                    at >= size - sizeof t;
        bytes[at] ^= (uint8_t)(1 << at % 8);
        fx_store(path, bytes, size);
        struct outcome o = verify(f->dir);
        if (used != (o.err == TG_ECORRUPT))
            print_error("byte %llu: %s\n", (unsigned long long)at, o.text);
        assert_int_equal(o.err, used ? TG_ECORRUPT : TG_OK);
        free(o.text);
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    free(bytes);
}

static void test_a_damaged_entry_is_named(void **state)
{
    struct fx *f = *state;
    char path[128], offset[32];
    uint32_t g[100];
    make_log(f);
    list_segments(f, g);
    fx_seg_path(f, path, g[0]);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    uint64_t at = find_record(bytes, size, g[0], REC_ENTRY);
    struct record r;
    memcpy(&r, bytes + at, sizeof r);
    char name[64];
    snprintf(offset, sizeof offset, "offset %llu:", (unsigned long long)at);
    snprintf(name, sizeof name, "entry %llu:%llu", (unsigned long long)r.ledger,
             (unsigned long long)r.entry);
    static const uint64_t places[] = {9, 25, sizeof(struct record) + 7}; /* header, body */
    for (unsigned i = 0; i < 3; i++) {
        bytes[at + places[i]] ^= 4;
        fx_store(path, bytes, size);
        struct outcome o = verify(f->dir);
        assert_int_equal(o.err, TG_ECORRUPT);
        assert_int_equal(o.found.problems, 1);
        assert_int_equal(o.found.stopping, 0);
        const char *words[] = {"seg-", offset, name, "damaged", NULL};
        expect_line(&o, words);
        free(o.text);
        bytes[at + places[i]] ^= 4;
    }
    memset(bytes + at, 0, 2000); /* a sector or more: every entry in it is named */
    fx_store(path, bytes, size);
    struct outcome o = verify(f->dir);
    assert_true(o.found.problems >= 5);
    free(o.text);
    free(bytes);
}

static void test_damaged_footers_and_headers_are_found(void **state)
{
    struct fx *f = *state;
    char path[128];
    uint32_t g[100];
    make_log(f);
    list_segments(f, g);
    fx_seg_path(f, path, g[0]);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    struct seg_trailer t = trailer_of(bytes, size);
    bytes[9] ^= 1;
    fx_store(path, bytes, size);
    EXPECT_PROBLEM(f, true, "offset 0:", "header");
    bytes[9] ^= 1;
    bytes[size - 1] ^= 1;
    fx_store(path, bytes, size);
    EXPECT_PROBLEM(f, true, "footer is damaged", "later segments");
    bytes[size - 1] ^= 1;
    bytes[t.footer_offset + sizeof(struct record) + 20] ^= 1; /* a run */
    fx_store(path, bytes, size);
    EXPECT_PROBLEM(f, true, "footer is damaged", "later segments");
    bytes[t.footer_offset + sizeof(struct record) + 20] ^= 1;
    bytes[t.footer_offset + sizeof(struct record) + t.head_len] ^= 1; /* an item */
    fx_store(path, bytes, size);
    EXPECT_PROBLEM(f, false, "footer is damaged in its list");
    bytes[t.footer_offset + sizeof(struct record) + t.head_len] ^= 1;
    fx_store(path, bytes, size / 2);
    EXPECT_PROBLEM(f, true, "footer is damaged");
    fx_store(path, bytes, 100);
    EXPECT_PROBLEM(f, true, "footer is damaged");
    fx_store(path, bytes, 0);
    EXPECT_PROBLEM(f, true, "offset 0:", "header");
    fx_store(path, bytes, size);
    expect_good(f);
    free(bytes);
}

static void test_damage_in_the_open_segment_stops_and_a_torn_tail_does_not(void **state)
{
    struct fx *f = *state;
    char path[128], place[32];
    make_log(f);
    uint32_t g[100], n = list_segments(f, g);
    uint64_t first = 0;
    size_t size;
    uint8_t *bytes = NULL;
    while (n-- > 0 && !first) { /* a spare may be behind it */
        free(bytes);
        fx_seg_path(f, path, g[n]);
        bytes = fx_load(path, &size);
        first = find_record(bytes, size, g[n], REC_GROUP);
    }
    bytes[first + 60] ^= 1;
    fx_store(path, bytes, size);
    snprintf(place, sizeof place, "offset %llu:", (unsigned long long)first + 48);
    EXPECT_PROBLEM(f, true, "was on disk up to", "seg-");
    bytes[first + 60] ^= 1;
    uint64_t end = find_record(bytes, size, g[n + 1], REC_CLEAN);
    bytes[end] ^= 1;
    fx_store(path, bytes, size);
    struct outcome o = verify(f->dir);
    assert_int_equal(o.err, TG_OK);
    const char *words[] = {"not whole", "never acknowledged", NULL};
    expect_line(&o, words);
    free(o.text);
    free(bytes);
}

static void test_a_segment_that_is_gone_leaves_holes(void **state)
{
    struct fx *f = *state;
    char path[128], other[128];
    fx_open(f);
    fx_fill(f, 1, 0, 1000, 304); /* nothing trimmed */
    fx_close(f);
    expect_good(f);
    fx_seg_path(f, path, 2);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    unlink(path);
    EXPECT_PROBLEM(f, false, "ledger 1: entries", "are in no segment");
    fx_seg_path(f, other, 1); /* under another name it is no better */
    size_t size1;
    uint8_t *bytes1 = fx_load(other, &size1);
    fx_store(path, bytes1, size1);
    EXPECT_PROBLEM(f, true, "seg-00000002.log", "header");
    fx_store(path, bytes, size);
    expect_good(f);
    free(bytes);
    free(bytes1);
}

static void test_segments_that_contradict_each_other_are_found(void **state)
{
    struct fx *f = *state;
    char path[128];
    fx_open(f);
    fx_fill(f, 1, 0, 1000, 304);
    fx_close(f);
    uint32_t g[100], n = list_segments(f, g);
    fx_seg_path(f, path, g[n - 2]); /* the newest sealed one: the open one goes on from it */
    unlink(path);
    struct outcome o = verify(f->dir);
    assert_int_equal(o.err, TG_ECORRUPT);
    assert_true(o.found.stopping > 0);
    free(o.text);
    assert_int_equal(fx_try_open(f), TG_ECORRUPT);
}

static void *work(void *ctx)
{
    struct fx *f = ctx;
    static struct pw_model m;
    struct pt *t = xcalloc(1, sizeof *t);
    struct pt_life life = {.trace = t, .until = UINT32_MAX};
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < 4; i++)
        pw_run(f->store, &life, &m, (uint64_t)mono_now_ns(), 150);
    pt_free(t);
    return NULL;
}

static void test_a_directory_in_use_gives_no_false_alarms(void **state)
{
    struct fx *f = *state;
    pthread_t thread;
    f->cfg.segment_bytes = PW_SEGMENT;
    fx_open(f);
    assert_int_equal(pthread_create(&thread, NULL, work, f), 0);
    unsigned looks = 0;
    for (uint64_t before = 0, now = 1; now > before || looks < 5; looks++) {
        struct ls_stats st;
        ls_stats(f->store, &st);
        before = st.appended_entries;
        struct outcome o = verify(f->dir);
        if (o.err)
            print_error("%s", o.text);
        assert_int_equal(o.err, TG_OK);
        assert_true(o.found.in_use);
        free(o.text);
        ls_stats(f->store, &st);
        now = st.appended_entries;
    }
    pthread_join(thread, NULL);
    fx_close(f);
    expect_good(f);
}

static void test_what_is_not_there_is_said(void **state)
{
    (void)state;
    struct log_findings found;
    char *why;
    assert_int_equal(log_verify("/nonexistent", stdout, &found, &why), TG_ENOENT);
    assert_non_null(strstr(why, "/nonexistent/log"));
    free(why);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fx_teardown)

static int no_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

static int setup(void **state)
{
    static const struct ls_faults faults = {.fdatasync = no_sync};
    fx_setup(state);
    ((struct fx *)*state)->cfg.faults = &faults;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nothing_is_wrong_with_a_good_log),
        T(test_every_byte_of_a_sealed_segment_matters),
        T(test_a_damaged_entry_is_named),
        T(test_damaged_footers_and_headers_are_found),
        T(test_damage_in_the_open_segment_stops_and_a_torn_tail_does_not),
        T(test_a_segment_that_is_gone_leaves_holes),
        T(test_segments_that_contradict_each_other_are_found),
        T(test_a_directory_in_use_gives_no_false_alarms),
        T(test_what_is_not_there_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

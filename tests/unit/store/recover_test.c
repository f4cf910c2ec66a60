/* What opening makes of a directory after a crash: a torn tail is cut, damage stops the start. A
 * crash is made by writing back the bytes that the file had while the store was running. */
#include "log_fixture.h"

#define BODY 8 /* no padding: every byte of a record is under a checksum */

static uint64_t group_bytes(unsigned entries)
{
    return sizeof(struct record) * (entries + 1) + entries * BODY;
}

/* Three groups of three entries each in segment 1, not closed in order. */
struct image {
    char path[128];
    uint8_t *bytes;
    size_t size;
    uint64_t group[4]; /* where each begins; [3]: the end */
};

static struct image three_groups(struct fx *f)
{
    struct image im;
    fx_open(f);
    for (unsigned g = 0; g < 3; g++) {
        fx_fill(f, 1, g * 3, 3, BODY);
        im.group[g] = SEG_DATA_START + g * group_bytes(3);
    }
    im.group[3] = SEG_DATA_START + 3 * group_bytes(3);
    fx_seg_path(f, im.path, 1);
    im.bytes = fx_load(im.path, &im.size);
    fx_close(f);
    return im;
}

/* Opens what is there, expects entries up to <last>, and that appending goes on from there. */
static void expect_cut_to(struct fx *f, uint64_t last)
{
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), last);
    assert_int_equal(fx_check_ledger(f, 1, 0), last + 1);
    fx_fill(f, 1, last + 1, 1, BODY);
    fx_crash(f);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), last + 1);
    assert_int_equal(fx_check_ledger(f, 1, 0), last + 2);
    fx_close(f);
}

static void expect_damage_at(struct fx *f, const char *file, uint64_t offset)
{
    char text[64];
    snprintf(text, sizeof text, "offset %llu:", (unsigned long long)offset);
    assert_int_equal(fx_try_open(f), TG_ECORRUPT);
    if (!strstr(f->why, text))
        print_error("wanted %s, got: %s\n", text, f->why);
    assert_non_null(strstr(f->why, text));
    assert_non_null(strstr(f->why, file));
    assert_non_null(strstr(f->why, "moving it out"));
}

static void test_crash_without_tear_keeps_all(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    fx_store(im.path, im.bytes, im.size);
    expect_cut_to(f, 8);
    free(im.bytes);
}

static void test_tail_truncated_anywhere_is_cut(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    for (uint64_t at = im.group[2]; at < im.group[3]; at++) {
        fx_store(im.path, im.bytes, at);
        expect_cut_to(f, 5);
    }
    fx_store(im.path, im.bytes, im.group[3]);
    expect_cut_to(f, 8);
    free(im.bytes);
}

static void test_tail_zeroed_from_anywhere_is_cut(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    for (uint64_t at = im.group[2]; at < im.group[3]; at++) {
        uint8_t *torn = xmalloc(im.size);
        memcpy(torn, im.bytes, im.size);
        memset(torn + at, 0, im.group[3] - at);
        bool same = memcmp(torn, im.bytes, im.size) == 0; /* it ended in zeros anyway */
        fx_store(im.path, torn, im.size);
        expect_cut_to(f, same ? 8 : 5);
        free(torn);
    }
    free(im.bytes);
}

static void test_tail_garbled_anywhere_is_cut(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    for (uint64_t at = im.group[2]; at < im.group[3]; at++) {
        im.bytes[at] ^= 0x5a;
        fx_store(im.path, im.bytes, im.size);
        expect_cut_to(f, 5);
        im.bytes[at] ^= 0x5a;
    }
    free(im.bytes);
}

static void test_first_sectors_of_the_tail_missing_is_cut(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    memset(im.bytes + im.group[2], 0, 100); /* the disk wrote the later sectors first */
    fx_store(im.path, im.bytes, im.size);
    expect_cut_to(f, 5);
    free(im.bytes);
}

static void test_bad_byte_anywhere_before_a_later_group_is_damage(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    uint64_t record = sizeof(struct record) + BODY;
    for (uint64_t at = im.group[1]; at < im.group[2]; at += 3) {
        im.bytes[at] ^= 0x01;
        fx_store(im.path, im.bytes, im.size);
        uint64_t in_group = at - im.group[1];
        uint64_t bad = im.group[1];
        if (in_group >= sizeof(struct record))
            bad += sizeof(struct record) + (in_group - sizeof(struct record)) / record * record;
        expect_damage_at(f, "seg-00000001.log", bad);
        im.bytes[at] ^= 0x01;
    }
    free(im.bytes);
}

static void test_hole_before_a_later_group_is_damage(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    memset(im.bytes + im.group[0], 0, im.group[1] - im.group[0]);
    fx_store(im.path, im.bytes, im.size);
    expect_damage_at(f, "seg-00000001.log", im.group[0]);
    free(im.bytes);
}

static void test_bad_last_group_after_a_clean_stop_is_damage(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f); /* it was closed in order after the image was taken */
    size_t size;
    uint8_t *bytes = fx_load(im.path, &size);
    bytes[im.group[3] - 1] ^= 1;
    fx_store(im.path, bytes, size);
    expect_damage_at(f, "seg-00000001.log", im.group[3] - sizeof(struct record) - BODY);
    free(bytes);
    free(im.bytes);
}

static void test_bad_segment_header_is_damage(void **state)
{
    struct fx *f = *state;
    struct image im = three_groups(f);
    im.bytes[8] ^= 1;
    fx_store(im.path, im.bytes, im.size);
    expect_damage_at(f, "seg-00000001.log", 0);
    free(im.bytes);
}

static void test_cut_groups_do_not_come_back(void **state)
{
    struct fx *f = *state;
    f->cfg.durability = LS_OS; /* the only mode in which more than one group can be in the tail */
    struct image im = three_groups(f);
    im.bytes[im.group[1] + 70] ^= 1;
    fx_store(im.path, im.bytes, im.size);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), 2);
    fx_fill(f, 1, 3, 3, BODY); /* ends exactly where the old third group begins */
    fx_crash(f);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), 5);
    free(im.bytes);
}

/* ---- more than one segment ---- */

static uint32_t segments(struct fx *f)
{
    struct ls_stats st;
    ls_stats(f->store, &st);
    return st.segments;
}

static void fill_segments(struct fx *f, uint32_t count)
{
    fx_open(f);
    for (uint64_t i = 0; segments(f) < count; i++)
        fx_fill(f, 1, i * 10, 10, 200);
}

static void test_sealed_segment_without_footer_is_damage(void **state)
{
    struct fx *f = *state;
    char path[128];
    fill_segments(f, 3);
    fx_crash(f);
    fx_seg_path(f, path, 1);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    struct seg_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    for (int what = 0; what < 3; what++) {
        uint64_t at = what == 0   ? size - 1 /* trailer */
                      : what == 1 ? t.footer_offset + sizeof(struct record) + 3
                                  : t.footer_offset + sizeof(struct record) + t.head_len - 1;
        bytes[at] ^= 1;
        fx_store(path, bytes, size);
        expect_damage_at(f, "seg-00000001.log", what == 0 ? size - sizeof t : t.footer_offset);
        bytes[at] ^= 1;
    }
    fx_store(path, bytes, size / 2);
    assert_int_equal(fx_try_open(f), TG_ECORRUPT);
    fx_store(path, bytes, size);
    fx_open(f);
    free(bytes);
}

static void test_sealing_that_was_not_finished_is_undone(void **state)
{
    struct fx *f = *state;
    char path[128];
    fill_segments(f, 2);
    uint64_t last = ls_last_entry(f->store, 1);
    fx_crash(f);
    fx_seg_path(f, path, 2); /* the crash came before anything was in the next segment */
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    memset(bytes + SEG_DATA_START, 0, size - SEG_DATA_START);
    fx_store(path, bytes, size);
    free(bytes);
    fx_open(f);
    uint64_t kept = ls_last_entry(f->store, 1);
    assert_true(kept < last);
    fx_crash(f);
    fx_seg_path(f, path, 1);
    bytes = fx_load(path, &size);
    struct seg_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    for (int what = 0; what < 3; what++) {
        uint8_t *torn = xmalloc(size);
        memcpy(torn, bytes, size);
        if (what != 1)
            torn[t.footer_offset + sizeof(struct record) + 5] ^= 1;
        if (what != 0)
            memset(torn + size - sizeof t, 0, sizeof t);
        fx_store(path, torn, size);
        fx_open(f);
        assert_int_equal(ls_last_entry(f->store, 1), kept);
        assert_int_equal(fx_check_ledger(f, 1, 0), kept + 1);
        fx_fill(f, 1, kept + 1, 1, 200);
        fx_crash(f);
        fx_open(f);
        assert_int_equal(fx_check_ledger(f, 1, 0), kept + 2);
        fx_close(f);
        free(torn);
    }
    free(bytes);
}

static void test_bad_body_in_a_sealed_segment_shows_when_it_is_read(void **state)
{
    struct fx *f = *state;
    char path[128];
    fill_segments(f, 3);
    uint64_t n = ls_last_entry(f->store, 1) + 1;
    fx_close(f);
    fx_seg_path(f, path, 1);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    bytes[SEG_DATA_START + 3 * sizeof(struct record) + 200 + 50] ^= 1; /* in entry 1 */
    fx_store(path, bytes, size);
    free(bytes);
    fx_open(f);
    fx_read(f, 1, 0, 10, UINT64_MAX);
    assert_int_equal(f->read_err, TG_OK);
    assert_int_equal(f->read_count, 1); /* those before it are good */
    fx_release(f);
    fx_read(f, 1, 1, 10, UINT64_MAX);
    assert_int_equal(f->read_err, TG_ECORRUPT);
    assert_int_equal(f->read_count, 0);
    fx_release(f);
    assert_int_equal(fx_check_ledger(f, 1, 2), n - 2);
}

static void test_bad_footer_item_shows_when_it_is_read(void **state)
{
    struct fx *f = *state;
    char path[128];
    fill_segments(f, 3);
    fx_close(f);
    fx_seg_path(f, path, 1);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    struct seg_trailer t;
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    uint64_t items = t.footer_offset + sizeof(struct record) + t.head_len;
    for (unsigned byte = 0; byte < 8; byte++) {
        bytes[items + byte] ^= 0x81;
        fx_store(path, bytes, size);
        fx_open(f);
        fx_read(f, 1, 0, 10, UINT64_MAX);
        assert_int_equal(f->read_err, TG_ECORRUPT);
        fx_release(f);
        fx_close(f);
        bytes[items + byte] ^= 0x81;
    }
    free(bytes);
}

static void test_recycled_segments_do_not_give_old_records(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    uint64_t n = 0;
    struct ls_stats st;
    do { /* until files are in their second or third turn */
        fx_fill(f, 1, n, 10, 200);
        n += 10;
        ls_trim(f->port, 1, n);
        ls_stats(f->store, &st);
    } while (n < 2000);
    for (int round = 0; round < 30; round++) {
        fx_crash(f);
        fx_open(f);
        assert_int_equal(ls_last_entry(f->store, 1), n - 1);
        fx_fill(f, 1, n, 10, 200);
        n += 10;
        assert_int_equal(fx_check_ledger(f, 1, n - 10), 10);
    }
}

static void test_moving_a_damaged_segment_away_lets_the_rest_start(void **state)
{
    struct fx *f = *state;
    char path[128];
    fill_segments(f, 4);
    uint64_t n = ls_last_entry(f->store, 1) + 1;
    fx_close(f);
    fx_seg_path(f, path, 2);
    unlink(path);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), n - 1);
    fx_read(f, 1, 0, 1000, UINT64_MAX);
    uint64_t first_part = f->read_count;
    fx_release(f);
    fx_read(f, 1, first_part, 1, UINT64_MAX); /* skips what is gone */
    assert_int_equal(f->read_count, 1);
    assert_true(f->read_entries[0].entry > first_part);
    fx_check_entry(&f->read_entries[0], 1, f->read_entries[0].entry);
    fx_release(f);
}

static int no_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

/* The crashes here are copies of the page cache: syncing would only cost time. */
static int setup(void **state)
{
    static const struct ls_faults faults = {.fdatasync = no_sync};
    fx_setup(state);
    ((struct fx *)*state)->cfg.faults = &faults;
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_crash_without_tear_keeps_all),
        T(test_tail_truncated_anywhere_is_cut),
        T(test_tail_zeroed_from_anywhere_is_cut),
        T(test_tail_garbled_anywhere_is_cut),
        T(test_first_sectors_of_the_tail_missing_is_cut),
        T(test_bad_byte_anywhere_before_a_later_group_is_damage),
        T(test_hole_before_a_later_group_is_damage),
        T(test_bad_last_group_after_a_clean_stop_is_damage),
        T(test_bad_segment_header_is_damage),
        T(test_cut_groups_do_not_come_back),
        T(test_sealed_segment_without_footer_is_damage),
        T(test_sealing_that_was_not_finished_is_undone),
        T(test_bad_body_in_a_sealed_segment_shows_when_it_is_read),
        T(test_bad_footer_item_shows_when_it_is_read),
        T(test_recycled_segments_do_not_give_old_records),
        T(test_moving_a_damaged_segment_away_lets_the_rest_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Several ports at once, each on its own thread, while entries are copied forward: what each
 * appended is there, in order, in either mode, also after reopening. */
#include "power_work.h"

static void work_and_reopen(struct fx *f, enum ls_durability durability)
{
    static struct pw_model m;
    uint64_t copied = 0;
    struct pt *t = xcalloc(1, sizeof *t); /* for its notes; nothing is cut */
    struct pt_life life = {.trace = t, .until = UINT32_MAX};
    pthread_mutex_init(&t->lock, NULL);
    memset(&m, 0, sizeof m);
    f->cfg.durability = durability;
    f->cfg.segment_bytes = PW_SEGMENT;
    for (int i = 0; i < 3; i++) {
        char *why;
        struct ledger_store *store;
        assert_int_equal(log_open(&store, &f->cfg, &why), TG_OK);
        for (uint64_t l = 0; l < PW_LEDGERS; l++) {
            uint64_t found = ls_last_entry(store, l) + 1;
            assert_int_equal(found, m.ledgers[l].dropped ? 0 : m.ledgers[l].acked);
        }
        pw_run(store, &life, &m, (uint64_t)mono_now_ns(), 300);
        struct ls_stats st;
        ls_stats(store, &st);
        copied += st.copied_bytes;
        ls_close(store);
    }
    assert_true(copied > 0);
    fx_open(f);
    for (uint64_t l = 0; l < PW_LEDGERS; l++) {
        const struct pw_ledger *w = &m.ledgers[l];
        for (uint64_t at = w->trimmed; !w->dropped && at < w->appended;) {
            fx_read(f, l, at, 100, 1 << 20);
            assert_int_equal(f->read_err, TG_OK);
            assert_true(f->read_count > 0);
            for (uint32_t i = 0; i < f->read_count; i++, at++) {
                assert_int_equal(f->read_entries[i].entry, at);
                assert_true(pw_good(&f->read_entries[i], l));
            }
            fx_release(f);
        }
    }
    pt_free(t);
}

static void test_ports_at_once(void **state)
{
    work_and_reopen(*state, LS_SYNC);
}

static void test_ports_at_once_in_os_mode(void **state)
{
    work_and_reopen(*state, LS_OS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ports_at_once, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_ports_at_once_in_os_mode, fx_setup, fx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The letter box: order, bound, closing, many senders. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "net/mail.h"

struct letter {
    struct mail mail; /* first */
    int sender, number;
};

static void test_letters_come_in_order(void **state)
{
    (void)state;
    struct mailbox b;
    mailbox_init(&b);
    struct letter l[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(mailbox_put(&b, &l[i].mail), TG_OK);
    struct mail *m = mailbox_take(&b);
    for (int i = 0; i < 3; i++, m = m->next)
        assert_ptr_equal(m, &l[i].mail);
    assert_null(m);
    assert_null(mailbox_take(&b));
}

static void test_full_box_refuses_until_emptied(void **state)
{
    (void)state;
    struct mailbox b;
    mailbox_init(&b);
    struct letter *l = calloc(MAIL_MAX + 1, sizeof(*l));
    for (int i = 0; i < MAIL_MAX; i++)
        assert_int_equal(mailbox_put(&b, &l[i].mail), TG_OK);
    assert_int_equal(mailbox_put(&b, &l[MAIL_MAX].mail), TG_EBUSY);
    assert_int_equal(mailbox_put(&b, &l[MAIL_MAX].mail), TG_EBUSY);
    int n = 0;
    for (struct mail *m = mailbox_take(&b); m != NULL; m = m->next)
        n++;
    assert_int_equal(n, MAIL_MAX);
    assert_int_equal(mailbox_put(&b, &l[MAIL_MAX].mail), TG_OK);
    free(l);
}

static void test_closed_box_gives_the_last_and_takes_no_more(void **state)
{
    (void)state;
    struct mailbox b;
    mailbox_init(&b);
    struct letter l[2] = {0};
    assert_int_equal(mailbox_put(&b, &l[0].mail), TG_OK);
    assert_ptr_equal(mailbox_close(&b), &l[0].mail);
    assert_int_equal(mailbox_put(&b, &l[1].mail), TG_ECLOSED);
    assert_null(mailbox_take(&b));
    assert_null(mailbox_close(&b));
}

enum { SENDERS = 4, PER_SENDER = 20000 };

struct sender {
    pthread_t thread;
    struct mailbox *box;
    struct letter *letters;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < PER_SENDER; i++)
        while (mailbox_put(s->box, &s->letters[i].mail) != TG_OK)
            sched_yield();
    return NULL;
}

static void test_order_is_kept_per_sender_and_nothing_is_lost(void **state)
{
    (void)state;
    struct mailbox b;
    mailbox_init(&b);
    struct sender s[SENDERS];
    for (int k = 0; k < SENDERS; k++) {
        s[k].box = &b;
        s[k].letters = calloc(PER_SENDER, sizeof(struct letter));
        for (int i = 0; i < PER_SENDER; i++)
            s[k].letters[i] = (struct letter){.sender = k, .number = i};
    }
    for (int k = 0; k < SENDERS; k++)
        assert_int_equal(pthread_create(&s[k].thread, NULL, send_all, &s[k]), 0);
    int expected[SENDERS] = {0};
    for (int got = 0; got < SENDERS * PER_SENDER;) {
        struct mail *m = mailbox_take(&b);
        if (m == NULL)
            sched_yield();
        for (; m != NULL; m = m->next, got++) {
            struct letter *l = (struct letter *)m;
            assert_int_equal(l->number, expected[l->sender]);
            expected[l->sender]++;
        }
    }
    for (int k = 0; k < SENDERS; k++) {
        pthread_join(s[k].thread, NULL);
        free(s[k].letters);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_come_in_order),
        cmocka_unit_test(test_full_box_refuses_until_emptied),
        cmocka_unit_test(test_closed_box_gives_the_last_and_takes_no_more),
        cmocka_unit_test(test_order_is_kept_per_sender_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

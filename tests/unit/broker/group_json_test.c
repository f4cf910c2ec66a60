/* A resource group as JSON: both sides of it, and what can't be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "broker/group.h"

static json_t *read(const char *text)
{
    json_t *sent = json_loads(text, 0, NULL), *doc;
    char *why;
    assert_int_equal(group_doc_read(sent, &doc, &why), TG_OK);
    json_decref(sent);
    return doc;
}

static struct rate_policy side(const char *text, enum limit_side k)
{
    struct rate_policy p;
    char *why;
    json_t *doc = read(text);
    assert_int_equal(group_doc_policy(doc, k, &p, &why), TG_OK);
    json_decref(doc);
    return p;
}

static void test_each_side_has_its_own(void **state)
{
    (void)state;
    const char *text = "{\"publishRateInMsgs\":5,\"publishEnforce\":false,"
                       "\"dispatchRateInMsgs\":70,\"DISPATCHRATELIMITINBYTES\":700,"
                       "\"dispatchBurstInMsgs\":140,\"dispatchPeriodInMs\":100}";
    struct rate_policy in = side(text, SIDE_PUBLISH), out = side(text, SIDE_DISPATCH);
    assert_int_equal(in.spec.msgs.rate, 5);
    assert_true(in.dry_run);
    assert_int_equal(in.spec.bytes.rate, 0);
    assert_int_equal(out.spec.msgs.rate, 70);
    assert_int_equal(out.spec.msgs.burst, 140);
    assert_int_equal(out.spec.bytes.rate, 700);
    assert_int_equal(out.spec.period_ns, 100000000);
    assert_false(out.dry_run);
    assert_false(side("{\"publishRateInMsgs\":5}", SIDE_DISPATCH).present);
}

static void assert_not_read(const char *text, enum tg_err expected, const char *names)
{
    json_t *sent = json_loads(text, 0, NULL), *doc;
    char *why;
    assert_int_equal(group_doc_read(sent, &doc, &why), expected);
    assert_non_null(strstr(why, names));
    json_decref(sent);
    free(why);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    char *why;
    assert_not_read("{\"dispatchEnforce\":1}", TG_EINVAL, "dispatchEnforce");
    assert_not_read("{\"dispatchRateInMsgs\":-2}", TG_ERANGE, "-2");
    assert_not_read("{\"dispatchRate\":2}", TG_EINVAL, "dispatchEnforce");
    json_t *doc = read("{\"dispatchRateInMsgs\":5,\"dispatchPeakInMsgs\":4}");
    assert_int_equal(group_doc_check(doc, &why), TG_ERANGE);
    free(why);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_side_has_its_own),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

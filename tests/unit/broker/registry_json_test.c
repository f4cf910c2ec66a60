/* A publish rate as JSON: what is taken comes back; what is not names field, value and what is
 * allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "broker/registry_priv.h"

static enum tg_err read_policy(const char *text, struct rate_policy *p, char **why)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    *why = NULL;
    enum tg_err e = rate_policy_from_json(p, j, why);
    json_decref(j);
    return e;
}

static void assert_round_trip(const char *text, const char *expected)
{
    struct rate_policy p;
    char *why;
    assert_int_equal(read_policy(text, &p, &why), TG_OK);
    assert_true(p.present);
    json_t *j = rate_policy_to_json(&p);
    char *out = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(out, expected);
    free(out);
    json_decref(j);
}

static void assert_refused(const char *text, enum tg_err expected, const char *names)
{
    struct rate_policy p = {.present = false};
    char *why;
    enum tg_err e = read_policy(text, &p, &why);
    if (e != expected)
        fail_msg("%s gave %d", text, e);
    assert_false(p.present);
    assert_non_null(why);
    if (strstr(why, names) == NULL)
        fail_msg("\"%s\" does not name %s", why, names);
    free(why);
}

static void test_what_is_set_comes_back(void **state)
{
    (void)state;
    assert_round_trip("{\"publishThrottlingRateInMsg\":1000,\"publishThrottlingRateInByte\":-1}",
                      "{\"publishThrottlingRateInByte\":-1,\"publishThrottlingRateInMsg\":1000}");
    assert_round_trip("{\"publishThrottlingRateInByte\":0}",
                      "{\"publishThrottlingRateInByte\":0,\"publishThrottlingRateInMsg\":-1}");
    assert_round_trip("{\"publishThrottlingRateInMsg\":1099511627776}",
                      "{\"publishThrottlingRateInByte\":-1,"
                      "\"publishThrottlingRateInMsg\":1099511627776}");
    const char *full = "{\"publishThrottlingBurstInByte\":5000,\"publishThrottlingBurstInMsg\":50,"
                       "\"publishThrottlingPeakInByte\":20000,\"publishThrottlingPeakInMsg\":200,"
                       "\"publishThrottlingPeriodInMs\":100,\"publishThrottlingRateInByte\":10000,"
                       "\"publishThrottlingRateInMsg\":100}";
    assert_round_trip(full, full);
}

static void test_period_is_milliseconds(void **state)
{
    (void)state;
    struct rate_policy p;
    char *why;
    assert_int_equal(read_policy("{\"publishThrottlingRateInMsg\":1,"
                                 "\"publishThrottlingPeriodInMs\":3600000}",
                                 &p, &why),
                     TG_OK);
    assert_int_equal(p.spec.period_ns, 3600LL * 1000000000);
}

static void test_wrong_types_are_refused(void **state)
{
    (void)state;
    assert_refused("[]", TG_EINVAL, "object");
    assert_refused("null", TG_EINVAL, "object");
    assert_refused("5", TG_EINVAL, "object");
    assert_refused("{\"publishThrottlingRateInMsg\":1.5}", TG_EINVAL, "1.5");
    assert_refused("{\"publishThrottlingRateInMsg\":\"10\"}", TG_EINVAL, "\"10\"");
    assert_refused("{\"publishThrottlingRateInByte\":null}", TG_EINVAL,
                   "publishThrottlingRateInByte");
    assert_refused("{\"publishThrottlingRateInByte\":true}", TG_EINVAL, "true");
    assert_refused("{\"publishThrotlingRateInMsg\":1}", TG_EINVAL, "publishThrotlingRateInMsg");
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_refused("{\"publishThrottlingRateInMsg\":-2}", TG_ERANGE, "-2");
    assert_refused("{\"publishThrottlingRateInMsg\":1099511627777}", TG_ERANGE, "1099511627777");
    assert_refused("{\"publishThrottlingRateInByte\":9223372036854775807}", TG_ERANGE,
                   "9223372036854775807");
    assert_refused("{\"publishThrottlingRateInMsg\":5,\"publishThrottlingBurstInMsg\":-1}",
                   TG_ERANGE, "publishThrottlingBurstInMsg");
    assert_refused("{\"publishThrottlingRateInMsg\":5,\"publishThrottlingPeriodInMs\":3600001}",
                   TG_ERANGE, "3600001");
    /* within each field's range, but too much together: 2^40 each millisecond */
    assert_refused("{\"publishThrottlingRateInMsg\":1099511627776,"
                   "\"publishThrottlingPeriodInMs\":1}",
                   TG_ERANGE, "publish rate");
}

static void test_burst_and_peak_need_a_rate(void **state)
{
    (void)state;
    assert_refused("{\"publishThrottlingBurstInMsg\":5}", TG_ERANGE, "publishThrottlingRateInMsg");
    assert_refused("{\"publishThrottlingRateInMsg\":5,\"publishThrottlingPeakInByte\":5}",
                   TG_ERANGE, "publishThrottlingRateInByte");
    assert_refused("{\"publishThrottlingRateInMsg\":5,\"publishThrottlingPeakInMsg\":4}", TG_ERANGE,
                   "publish rate");
}

/* A namespace's two policies stand side by side, and what is not set is not there. */
static void test_rows_of_namespaces(void **state)
{
    (void)state;
    const struct rate_policy none = {0};
    const struct rate_policy rate = {.present = true, .spec = {.msgs.rate = 5, .bytes.rate = -1}};
    const struct rate_policy quota = {.present = true, .spec = {.msgs.rate = 70, .bytes.rate = 8}};
    const struct {
        const struct rate_policy *rate, *quota;
        const char *row;
    } cases[] = {
        {&none, &none, "{\"policies\":{}}"},
        {&rate, &none,
         "{\"policies\":{},\"publishRate\":{\"publishThrottlingRateInByte\":-1,"
         "\"publishThrottlingRateInMsg\":5}}"},
        {&none, &quota,
         "{\"policies\":{},\"publishQuota\":{\"publishThrottlingRateInByte\":8,"
         "\"publishThrottlingRateInMsg\":70}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ns n = {.publish_rate = *cases[i].rate, .publish_quota = *cases[i].quota};
        json_t *row = ns_row(&n);
        char *text = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, cases[i].row);
        free(text);
        json_decref(row);
    }
    struct ns both = {.publish_rate = rate, .publish_quota = quota};
    json_t *row = ns_row(&both);
    assert_non_null(json_object_get(row, "publishRate"));
    assert_non_null(json_object_get(row, "publishQuota"));
    json_decref(row);
}

static void test_weight_and_dry_run_come_back(void **state)
{
    (void)state;
    struct rate_policy p;
    char *why = NULL;
    json_t *j =
        json_loads("{\"publishThrottlingRateInMsg\":5,\"weight\":7,\"enforce\":false}", 0, NULL);
    assert_int_equal(rate_policy_from_json(&p, j, &why), TG_OK);
    assert_int_equal(p.weight, 7);
    assert_true(p.dry_run);
    json_t *back = rate_policy_to_json(&p);
    json_object_set_new(j, "publishThrottlingRateInByte", json_integer(-1));
    assert_true(json_equal(j, back));
    json_decref(back);
    json_object_set_new(j, "enforce", json_integer(0));
    assert_int_equal(rate_policy_from_json(&p, j, &why), TG_EINVAL);
    free(why);
    json_object_set_new(j, "enforce", json_true());
    json_object_set_new(j, "weight", json_integer(0));
    assert_int_equal(rate_policy_from_json(&p, j, &why), TG_ERANGE);
    free(why);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight_and_dry_run_come_back),
        cmocka_unit_test(test_what_is_set_comes_back),
        cmocka_unit_test(test_rows_of_namespaces),
        cmocka_unit_test(test_period_is_milliseconds),
        cmocka_unit_test(test_wrong_types_are_refused),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
        cmocka_unit_test(test_burst_and_peak_need_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Policies as JSON: what is taken comes back; what is not names field, value and what is allowed;
 * and what rows have of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "broker/registry_priv.h"

static const struct policy_form *form; /* that a test is about */

static enum tg_err read_policy(const char *text, struct rate_policy *p, char **why)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    *why = NULL;
    enum tg_err e = policy_from_json(form, p, j, why);
    json_decref(j);
    return e;
}

static void assert_round_trip(const char *text, const char *expected)
{
    struct rate_policy p;
    char *why;
    assert_int_equal(read_policy(text, &p, &why), TG_OK);
    assert_true(p.present);
    json_t *j = policy_to_json(form, &p);
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
        struct ns n = {.rate[RATE_OF_TOPIC] = *cases[i].rate,
                       .quota_policy[SIDE_PUBLISH] = *cases[i].quota};
        json_t *row = ns_row(&n, "here");
        char *text = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, cases[i].row);
        free(text);
        json_decref(row);
    }
    struct ns both = {.rate[RATE_OF_TOPIC] = rate, .quota_policy[SIDE_PUBLISH] = quota};
    json_t *row = ns_row(&both, "here");
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
    assert_int_equal(policy_from_json(form, &p, j, &why), TG_OK);
    assert_int_equal(p.weight, 7);
    assert_true(p.dry_run);
    json_t *back = policy_to_json(form, &p);
    json_object_set_new(j, "publishThrottlingRateInByte", json_integer(-1));
    assert_true(json_equal(j, back));
    json_decref(back);
    json_object_set_new(j, "enforce", json_integer(0));
    assert_int_equal(policy_from_json(form, &p, j, &why), TG_EINVAL);
    free(why);
    json_object_set_new(j, "enforce", json_true());
    json_object_set_new(j, "weight", json_integer(0));
    assert_int_equal(policy_from_json(form, &p, j, &why), TG_ERANGE);
    free(why);
    json_decref(j);
}

static void test_words_of_dispatch(void **state)
{
    (void)state;
    form = rate_form(RATE_OF_DISPATCH);
    assert_round_trip("{\"dispatchThrottlingRateInMsg\":100}",
                      "{\"dispatchThrottlingRateInByte\":-1,\"dispatchThrottlingRateInMsg\":100,"
                      "\"ratePeriodInSecond\":1,\"relativeToPublishRate\":false}");
    const char *full = "{\"dispatchThrottlingBurstInByte\":5000,"
                       "\"dispatchThrottlingBurstInMsg\":50,"
                       "\"dispatchThrottlingPeakInByte\":20000,"
                       "\"dispatchThrottlingPeakInMsg\":200,"
                       "\"dispatchThrottlingRateInByte\":10000,"
                       "\"dispatchThrottlingRateInMsg\":100,\"enforce\":false,"
                       "\"ratePeriodInSecond\":10,\"relativeToPublishRate\":true,\"weight\":3}";
    assert_round_trip(full, full);
    struct rate_policy p;
    char *why;
    assert_int_equal(read_policy(full, &p, &why), TG_OK);
    assert_int_equal(p.spec.period_ns, 10 * INT64_C(1000000000));
    assert_true(p.relative_to_publish && p.dry_run);
    /* as Pulsar has it: no period is a second */
    assert_int_equal(read_policy("{\"ratePeriodInSecond\":0}", &p, &why), TG_OK);
    assert_int_equal(p.spec.period_ns, INT64_C(1000000000));
    assert_refused("{\"publishThrottlingRateInMsg\":1}", TG_EINVAL, "relativeToPublishRate");
    assert_refused("{\"relativeToPublishRate\":1}", TG_EINVAL, "relativeToPublishRate");
    assert_refused("{\"ratePeriodInSecond\":3601}", TG_ERANGE, "3601");
    assert_refused("{\"dispatchThrottlingBurstInMsg\":5}", TG_ERANGE,
                   "dispatchThrottlingRateInMsg");
    form = quota_form(SIDE_DISPATCH);
    assert_refused("{\"dispatchThrottlingRateInMsg\":5,\"relativeToPublishRate\":true}", TG_ERANGE,
                   "dispatchQuota");
    form = rate_form(RATE_OF_TOPIC);
}

static void test_words_of_subscribing(void **state)
{
    (void)state;
    form = rate_form(RATE_OF_SUBSCRIBING);
    assert_round_trip("{\"subscribeThrottlingRatePerConsumer\":5,\"ratePeriodInSecond\":10}",
                      "{\"ratePeriodInSecond\":10,\"subscribeThrottlingRatePerConsumer\":5}");
    assert_round_trip("{\"subscribeThrottlingRatePerConsumer\":5}",
                      "{\"ratePeriodInSecond\":30,\"subscribeThrottlingRatePerConsumer\":5}");
    assert_refused("{\"subscribeThrottlingRatePerConsumer\":-2}", TG_ERANGE, "-2");
    assert_refused("{\"weight\":2}", TG_EINVAL, "weight");
    assert_refused("{\"enforce\":false}", TG_EINVAL, "enforce");
    form = rate_form(RATE_OF_TOPIC);
}

/* This cluster's is in force, another's stays as it was set; and what was read is written again. */
static void test_rows_of_namespaces_by_cluster(void **state)
{
    (void)state;
    const char *text =
        "{\"dispatchQuota\":{\"dispatchThrottlingRateInByte\":-1,\"dispatchThrottlingRateInMsg\":9,"
        "\"ratePeriodInSecond\":1,\"relativeToPublishRate\":false},"
        "\"policies\":{\"bundles\":{},"
        "\"clusterSubscribeRate\":{\"here\":{\"ratePeriodInSecond\":7,"
        "\"subscribeThrottlingRatePerConsumer\":6}},"
        "\"topicDispatchRate\":{\"elsewhere\":{\"kept\":\"as it is\"},"
        "\"here\":{\"dispatchThrottlingRateInByte\":-1,\"dispatchThrottlingRateInMsg\":5,"
        "\"ratePeriodInSecond\":1,\"relativeToPublishRate\":false}}}}";
    json_t *row = json_loads(text, 0, NULL);
    assert_non_null(row);
    struct ns n = {.doc = json_object_get(row, "policies")};
    assert_int_equal(ns_policies_from_row(&n, row, "here", "namespace/a/b"), TG_OK);
    assert_int_equal(n.rate[RATE_OF_DISPATCH].spec.msgs.rate, 5);
    assert_int_equal(n.rate[RATE_OF_SUBSCRIBING].spec.msgs.rate, 6);
    assert_false(n.rate[RATE_OF_SUBSCRIPTION].present);
    assert_int_equal(n.quota_policy[SIDE_DISPATCH].spec.msgs.rate, 9);
    json_t *again = ns_row(&n, "here");
    char *out = json_dumps(again, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(out, text);
    free(out);
    json_decref(again);
    n.rate[RATE_OF_DISPATCH].present = false;
    json_t *map = ns_policies_by_cluster(&n, RATE_OF_DISPATCH, "here");
    assert_int_equal(json_object_size(map), 1);
    assert_non_null(json_object_get(map, "elsewhere"));
    json_decref(map);
    json_decref(row);
}

static void test_a_row_that_is_damaged_is_told(void **state)
{
    (void)state;
    json_t *row = json_loads(
        "{\"policies\":{\"topicDispatchRate\":{\"here\":{\"dispatchThrottlingRateInMsg\":[]}}}}", 0,
        NULL);
    struct ns n = {.doc = json_object_get(row, "policies")};
    assert_int_equal(ns_policies_from_row(&n, row, "here", "namespace/a/b"), TG_ECORRUPT);
    json_decref(row);
}

int main(void)
{
    form = rate_form(RATE_OF_TOPIC);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_dispatch),
        cmocka_unit_test(test_words_of_subscribing),
        cmocka_unit_test(test_rows_of_namespaces_by_cluster),
        cmocka_unit_test(test_a_row_that_is_damaged_is_told),
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

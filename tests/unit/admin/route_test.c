/* Paths: how they are split and decoded, which route serves them, 404 and 405; and that
 * docs/admin-api.md lists the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "admin/route.h"

static void one(struct call *c)
{
    (void)c;
}
static void two(struct call *c)
{
    (void)c;
}

static const struct route table[] = {
    {HTTP_GET, ROUTE_SHORT, "/a", one, ""},
    {HTTP_GET, ROUTE_SHORT, "/a/{tenant}", one, ""},
    {HTTP_POST, ROUTE_SHORT, "/a/{tenant}", one, ""},
    {HTTP_GET, ROUTE_SHORT, "/x/{domain}/{tenant}/{ns}/partitioned", one, ""},
    {HTTP_GET, ROUTE_SHORT, "/x/{domain}/{tenant}/{ns}/{topic}", two, ""},
    {HTTP_PUT, ROUTE_SHORT, "/x/{domain}/{tenant}/{ns}/{topic}", two, ""},
    {HTTP_POST, ROUTE_SHORT, "/skip/{number}", one, ""},
};
enum { COUNT = sizeof table / sizeof *table };

static struct uri uri_of(const char *target)
{
    struct uri u;
    if (uri_parse(&u, target) != TG_OK)
        fail_msg("refused: %s", target);
    return u;
}

static struct route_match match(enum http_method m, struct uri *u, const char *target)
{
    struct route_match out;
    *u = uri_of(target);
    route_match(&out, table, COUNT, m, u);
    return out;
}

static void test_segments_are_decoded_one_by_one(void **state)
{
    (void)state;
    struct uri u = uri_of("/a/b%2Fc/%40%25x+y?q=1");
    assert_int_equal(u.segments, 3);
    assert_string_equal(u.segment[1], "b/c");
    assert_string_equal(u.segment[2], "@%x+y");
    uri_fini(&u);
    u = uri_of("/%C3%A4/");
    assert_int_equal(u.segments, 1);
    assert_string_equal(u.segment[0], "\xc3\xa4");
    uri_fini(&u);
}

static void test_query_is_decoded(void **state)
{
    (void)state;
    struct uri u = uri_of("/a?force=true&key=a%26b+c&flag&e=");
    assert_string_equal(uri_arg(&u, "force"), "true");
    assert_string_equal(uri_arg(&u, "key"), "a&b c");
    assert_string_equal(uri_arg(&u, "flag"), "");
    assert_string_equal(uri_arg(&u, "e"), "");
    assert_null(uri_arg(&u, "none"));
    uri_fini(&u);
}

static void test_bad_escapes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"/a%", "/a%2", "/a%zz", "/a%00b", "/a?x=%", "/a?x=%0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct uri u;
        if (uri_parse(&u, bad[i]) != TG_EINVAL)
            fail_msg("taken: %s", bad[i]);
        uri_fini(&u);
    }
}

static void test_too_many_parts_are_refused(void **state)
{
    (void)state;
    char target[512] = "";
    for (int i = 0; i <= URI_SEGMENTS_MAX; i++)
        strcat(target, "/s");
    struct uri u;
    assert_int_equal(uri_parse(&u, target), TG_ELIMIT);
    uri_fini(&u);
    strcpy(target, "/?");
    for (int i = 0; i <= URI_ARGS_MAX; i++)
        strcat(target, "a=1&");
    assert_int_equal(uri_parse(&u, target), TG_ELIMIT);
    uri_fini(&u);
}

static void test_captures_are_filled(void **state)
{
    (void)state;
    struct uri u;
    struct route_match m = match(HTTP_PUT, &u, "/x/persistent/t/n/a%2Fb");
    assert_non_null(m.route);
    assert_string_equal(m.capture[CAP_DOMAIN], "persistent");
    assert_string_equal(m.capture[CAP_TENANT], "t");
    assert_string_equal(m.capture[CAP_NS], "n");
    assert_string_equal(m.capture[CAP_TOPIC], "a/b");
    assert_null(m.capture[CAP_SUB]);
    uri_fini(&u);
}

static void test_literal_goes_before_capture(void **state)
{
    (void)state;
    struct uri u;
    assert_ptr_equal(match(HTTP_GET, &u, "/x/persistent/t/n/partitioned").route, &table[3]);
    uri_fini(&u);
    assert_ptr_equal(match(HTTP_GET, &u, "/x/persistent/t/n/other").route, &table[4]);
    uri_fini(&u);
}

static void test_trailing_slash_is_ignored(void **state)
{
    (void)state;
    struct uri u;
    assert_ptr_equal(match(HTTP_GET, &u, "/a/").route, &table[0]);
    uri_fini(&u);
}

static void test_unknown_path_has_no_methods(void **state)
{
    (void)state;
    static const char *const paths[] = {"/", "/b", "/a/t/x", "/x/other/t/n/a", "/x/persistent/t/n"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct uri u;
        struct route_match m = match(HTTP_GET, &u, paths[i]);
        if (m.route != NULL || m.allowed != 0)
            fail_msg("served: %s", paths[i]);
        uri_fini(&u);
    }
}

static void test_wrong_method_names_the_allowed(void **state)
{
    (void)state;
    struct uri u;
    struct route_match m = match(HTTP_DELETE, &u, "/a/t");
    assert_null(m.route);
    assert_int_equal(m.allowed, (1u << HTTP_GET) | (1u << HTTP_POST));
    uri_fini(&u);
    m = match(HTTP_METHODS, &u, "/a");
    assert_null(m.route);
    assert_int_equal(m.allowed, 1u << HTTP_GET);
    uri_fini(&u);
}

static void test_number_is_a_whole_number(void **state)
{
    (void)state;
    static const char *const good[] = {"/skip/0", "/skip/-1", "/skip/9223372036854775807"};
    static const char *const bad[] = {"/skip/x",
                                      "/skip/1.5",
                                      "/skip/%201",
                                      "/skip/+1",
                                      "/skip/1x",
                                      "/skip/-",
                                      "/skip/9223372036854775808"};
    struct uri u;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_non_null(match(HTTP_POST, &u, good[i]).route);
        uri_fini(&u);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (match(HTTP_POST, &u, bad[i]).route != NULL)
            fail_msg("taken: %s", bad[i]);
        uri_fini(&u);
    }
}

static void test_methods(void **state)
{
    (void)state;
    assert_int_equal(http_method_parse("DELETE"), HTTP_DELETE);
    assert_int_equal(http_method_parse("HEAD"), HTTP_GET);
    assert_int_equal(http_method_parse("PATCH"), HTTP_METHODS);
}

/* Every row of the real table: its pattern is spelt right (a misspelt capture asserts), it is the
 * one that its own path finds, and the manual has its line. */
static void test_docs_list_every_route(void **state)
{
    (void)state;
    FILE *f = fopen("docs/admin-api.md", "r");
    if (f == NULL)
        skip(); /* not run from the project's directory */
    char *manual = calloc(1, 1 << 20);
    (void)!fread(manual, 1, (1 << 20) - 1, f);
    fclose(f);
    for (size_t i = 0; i < routes_count(); i++) {
        char line[512];
        snprintf(line, sizeof line, "| %s | `%s` | %s |\n", http_method_name(routes[i].method),
                 routes[i].pattern, routes[i].doc);
        if (strstr(manual, line) == NULL)
            fail_msg("docs/admin-api.md lacks: %s", line);
    }
    free(manual);
}

/* What is long may be put off, and its answer is made by the writer: both are wrong for a change,
 * which may be answered when the writer has ended. */
static void test_what_changes_something_is_never_long(void **state)
{
    (void)state;
    int longs = 0;
    for (size_t i = 0; i < routes_count(); i++) {
        longs += routes[i].cost != ROUTE_SHORT;
        if (routes[i].method != HTTP_GET && routes[i].cost != ROUTE_SHORT)
            fail_msg("%s %s", http_method_name(routes[i].method), routes[i].pattern);
    }
    assert_true(longs > 0);
}

static void test_every_route_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < routes_count(); i++) {
        char path[512] = "";
        const char *p = routes[i].pattern;
        while (*p != 0) {
            size_t len = strcspn(p, "{");
            strncat(path, p, len);
            p += len;
            if (*p == 0)
                break;
            strcat(path, strncmp(p, "{domain}", 8) == 0   ? "persistent"
                         : strncmp(p, "{number}", 8) == 0 ? "7"
                                                          : "zz");
            p += strcspn(p, "}") + 1;
        }
        struct uri u = uri_of(path);
        struct route_match m;
        route_match(&m, routes, routes_count(), routes[i].method, &u);
        if (m.route != &routes[i])
            fail_msg("%s %s is hidden by %s", http_method_name(routes[i].method), routes[i].pattern,
                     m.route != NULL ? m.route->pattern : "nothing");
        uri_fini(&u);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--docs") == 0) { /* the table for docs/admin-api.md */
        for (size_t i = 0; i < routes_count(); i++)
            printf("| %s | `%s` | %s |\n", http_method_name(routes[i].method), routes[i].pattern,
                   routes[i].doc);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_decoded_one_by_one),
        cmocka_unit_test(test_query_is_decoded),
        cmocka_unit_test(test_bad_escapes_are_refused),
        cmocka_unit_test(test_too_many_parts_are_refused),
        cmocka_unit_test(test_captures_are_filled),
        cmocka_unit_test(test_literal_goes_before_capture),
        cmocka_unit_test(test_trailing_slash_is_ignored),
        cmocka_unit_test(test_unknown_path_has_no_methods),
        cmocka_unit_test(test_wrong_method_names_the_allowed),
        cmocka_unit_test(test_number_is_a_whole_number),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_docs_list_every_route),
        cmocka_unit_test(test_what_changes_something_is_never_long),
        cmocka_unit_test(test_every_route_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "throttle/hold_client.h"

static void test_who_is_known_to_obey(void **state)
{
    (void)state;
    static const char *const obey[] = {
        "Pulsar-CPP-v4.2.0",  "Pulsar-CPP-v3.1.0",   "Pulsar-CPP-v3.10",      "Pulsar-Java-v2.8.0",
        "Pulsar-Java-v4.0.7", "Pulsar-Go-v0.13.1",   "Pulsar Go v0.21.0",     "Pulsar-Go-v1.0.0",
        "Pulsar Go v0.13",    "Pulsar-Java-v2.10.6", "Pulsar-CPP-v4.3.0-pre",
    };
    for (size_t i = 0; i < sizeof obey / sizeof obey[0]; i++)
        assert_true(hold_client_obeys(obey[i]));
}

static void test_nobody_else_is_held(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "raw-test",
        "Pulsar-CPP-v3.0.9",
        "Pulsar-CPP-v2.11.1",
        "Pulsar-Java-v2.7.5",
        "Pulsar-Go-v0.9.0",
        "Pulsar Go v0.12.1",
        "Pulsar-Go-vX",
        "Pulsar-CPP-v",
        "Pulsar-CPP-v4",
        "Pulsar-CPP-v4.",
        "Pulsar-CPP-v-4.2",
        "My-Pulsar-CPP-v4.2.0",
        "Pulsar-Rust-v6.0.0",
        "pulsar-cpp-v4.2.0",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(hold_client_obeys(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_known_to_obey),
        cmocka_unit_test(test_nobody_else_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Replays the fuzzers' seeds and the inputs that once broke something, without a fuzzer. Run from
 * the top of the source tree. A failure stops the program: the input's name is printed first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

/* The fuzzers share the name of their entry; here each gets its own. */
#define LLVMFuzzerTestOneInput fuzz_frame
#include "../../../fuzz/frame_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_command
#include "../../../fuzz/command_fuzz.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_metadata
#include "../../../fuzz/metadata_fuzz.c"
#undef LLVMFuzzerTestOneInput

enum { INPUT_MAX = 1024 * 1024 };

typedef int fuzz_target(const uint8_t *data, size_t size);

static void replay_file(const char *path, fuzz_target *target)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *area = xmalloc(INPUT_MAX);
    size_t n = fread(area, 1, INPUT_MAX, f);
    assert_true(n < INPUT_MAX);
    fclose(f);
    uint8_t *exact = xmalloc(n + 1); /* so that a sanitizer sees a read beyond the end */
    memcpy(exact + 1, area, n);
    free(area);
    printf("%s\n", path);
    fflush(stdout);
    target(exact + 1, n);
    free(exact);
}

/* Every file of fuzz/<kind>/<name>; how many there were. */
static int replay_dir(const char *kind, const char *name, fuzz_target *target)
{
    char *dir = xasprintf("fuzz/%s/%s", kind, name);
    DIR *d = opendir(dir);
    int count = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char *path = xasprintf("%s/%s", dir, e->d_name);
        replay_file(path, target);
        free(path);
        count++;
    }
    if (d)
        closedir(d);
    free(dir);
    return count;
}

static void test_frame_inputs(void **state)
{
    (void)state;
    assert_true(replay_dir("corpus", "frame", fuzz_frame) >= 10);
    replay_dir("regression", "frame", fuzz_frame);
}

static void test_command_inputs(void **state)
{
    (void)state;
    assert_true(replay_dir("corpus", "command", fuzz_command) >= 10);
    assert_true(replay_dir("regression", "command", fuzz_command) >= 1);
}

static void test_metadata_inputs(void **state)
{
    (void)state;
    assert_true(replay_dir("corpus", "metadata", fuzz_metadata) >= 10);
    replay_dir("regression", "metadata", fuzz_metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_inputs),
        cmocka_unit_test(test_command_inputs),
        cmocka_unit_test(test_metadata_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

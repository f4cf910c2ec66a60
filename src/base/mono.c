#include "base/mono.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * MONO_S + ts.tv_nsec;
}

int64_t mono_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t wall_now_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

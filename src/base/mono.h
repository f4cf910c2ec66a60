/* mono.h - time. Inside Tidegate time is a parameter: an int64_t in nanoseconds whose name ends in
 * _ns. The clocks are read in mono.c and nowhere else (tools/check-layers checks it); a worker
 * reads the monotonic one once per loop turn (worker_now_ns). Any thread may call these. */
#ifndef BASE_MONO_H
#define BASE_MONO_H

#include <stdint.h>

#define MONO_NEVER INT64_MAX
#define MONO_US    INT64_C(1000)
#define MONO_MS    INT64_C(1000000)
#define MONO_S     INT64_C(1000000000)

int64_t mono_now_ns(void);   /* CLOCK_MONOTONIC */
int64_t wall_now_ns(void);   /* CLOCK_REALTIME, since 1970; for what people and clients read */
int64_t thread_cpu_ns(void); /* CPU time of the calling thread; for benchmarks */

/* a + span without wrapping; never stays never. */
static inline int64_t mono_add(int64_t a_ns, int64_t span_ns)
{
    int64_t r;
    if (__builtin_add_overflow(a_ns, span_ns, &r))
        return span_ns > 0 ? MONO_NEVER : INT64_MIN;
    return r;
}

#endif

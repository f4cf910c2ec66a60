#include "base/map.h"

#include <stdatomic.h>
#include <sys/random.h>

static _Atomic uint64_t seed; /* 0: not drawn yet; set once */

uint64_t map_seed(void)
{
    uint64_t s = atomic_load_explicit(&seed, memory_order_relaxed);
    if (s)
        return s;
    uint64_t drawn = 0, none = 0;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn || drawn == 0)
        drawn =
            (uint64_t)(uintptr_t)&seed | 1; /* address space layout is all the chance there is */
    if (atomic_compare_exchange_strong(&seed, &none, drawn))
        return drawn;
    return none;
}

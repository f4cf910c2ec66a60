/* crc32c_x86.c - CRC-32C by the SSE4.2 instruction.
 *
 * The instruction has a latency of three cycles and a throughput of one, so longer inputs are cut
 * into three lanes that are computed side by side and joined afterwards: moving a CRC over n more
 * bytes is a multiplication by x^(8n) modulo the polynomial, done with one carry-less product and
 * one more CRC step. The constants are x^(8n-33), bit-reversed: the product loses one power of x to
 * the bit order, and the CRC step multiplies by x^32. Invariant: equal to crc32c_soft on every
 * input. Only these functions are compiled for the newer processor; crc32c_hw_usable guards them.
 */
#include "base/crc32c_impl.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("sse4.2,pclmul")))

/* Long lanes make joining cheap, short ones serve the usual message of about a kilobyte. */
enum { LANE_LONG = 1024, LANE_SHORT = 128 };

struct lane_shift {
    uint32_t over_one, over_two; /* x^(8n-33) for n = one and two lanes */
};
static const struct lane_shift shift_long = {0x170076fa, 0xa51b6135};
static const struct lane_shift shift_short = {0x0d3b6092, 0xb9e02b86};

bool crc32c_hw_usable(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

TARGET static inline uint64_t multiply(uint64_t crc, uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
                                           _mm_cvtsi64_si128((long long)by), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Three lanes of <lane> bytes, one after the other in memory. */
TARGET static inline uint64_t three_lanes(uint64_t c, const uint8_t *p, size_t lane,
                                          const struct lane_shift *shift)
{
    uint64_t a = c, b = 0, d = 0;
    for (size_t i = 0; i < lane; i += 8) {
        a = _mm_crc32_u64(a, load64(p + i));
        b = _mm_crc32_u64(b, load64(p + lane + i));
        d = _mm_crc32_u64(d, load64(p + 2 * lane + i));
    }
    return d ^ _mm_crc32_u64(0, multiply(a, shift->over_two) ^ multiply(b, shift->over_one));
}

TARGET uint32_t crc32c_hw(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t c = (uint32_t)~crc;
    for (; len >= 3 * LANE_LONG; p += 3 * LANE_LONG, len -= 3 * LANE_LONG)
        c = three_lanes(c, p, LANE_LONG, &shift_long);
    for (; len >= 3 * LANE_SHORT; p += 3 * LANE_SHORT, len -= 3 * LANE_SHORT)
        c = three_lanes(c, p, LANE_SHORT, &shift_short);
    for (; len >= 8; p += 8, len -= 8)
        c = _mm_crc32_u64(c, load64(p));
    uint32_t tail = (uint32_t)c;
    if (len >= 4) {
        tail = _mm_crc32_u32(tail, load32(p));
        p += 4;
        len -= 4;
    }
    for (; len; p++, len--)
        tail = _mm_crc32_u8(tail, *p);
    return ~tail;
}

#else /* another processor: the tables serve */

bool crc32c_hw_usable(void)
{
    return false;
}

uint32_t crc32c_hw(uint32_t crc, const void *p, size_t len)
{
    return crc32c_soft(crc, p, len);
}

#endif

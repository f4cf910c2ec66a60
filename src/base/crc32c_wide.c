/* crc32c_wide.c - CRC-32C by carry-less products of 512 bits, for the processors that have them.
 *
 * The input is folded: 64 bytes are multiplied by x^(8n) modulo the polynomial, which moves them n
 * bytes on, and added to the 64 bytes that stand there. Four such accumulators, 256 bytes apart
 * from themselves, keep the multiplier busy; at the end they are folded into one, that one into 16
 * bytes, and these through the CRC instruction. 32 bytes of input a cycle against 8 of
 * crc32c_x86.c's lanes.
 *
 * A product of two bit-reversed 64-bit words lies one bit further than theirs, and a 32-bit
 * constant in a 64-bit word stands for x^32 times itself: so the constant for n bytes is x^(8n-33)
 * for the word that comes second, and x^(8n+31) for the first, which is 8 bytes further away.
 * Invariant: equal to crc32c_soft on every input. */
#include "base/crc32c_impl.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,vpclmulqdq,sse4.2,pclmul")))

enum { WIDE = 64, STRIDE = 4 * WIDE };

bool crc32c_wide_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") &&
           crc32c_hw_usable();
}

/* The constants for n bytes in each of the four 128-bit lanes. */
#define BY(first, second)                                                                          \
    _mm512_set_epi64(second, first, second, first, second, first, second, first)
#define BY_256 BY(0xdcb17aa4, 0xb9e02b86)
#define BY_64  BY(0x740eef02, 0x9e4addf8)
/* The lanes of one accumulator onto the last of them: by 48, 32, 16 bytes; the last stays. */
#define BY_LANE                                                                                    \
    _mm512_set_epi64(0, 0, 0x493c7d27, 0xf20c0dfe, 0xba4fc28e, 0x3da6d0cb, 0xddc0152b, 0x1c291d04)

TARGET static inline __m512i fold(__m512i a, __m512i by, __m512i onto)
{
    __m512i first = _mm512_clmulepi64_epi128(a, by, 0x00);
    __m512i second = _mm512_clmulepi64_epi128(a, by, 0x11);
    return _mm512_ternarylogic_epi64(first, second, onto, 0x96); /* xor of all three */
}

TARGET static inline __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

TARGET static inline uint32_t reduce(__m512i a)
{
    __m512i moved = fold(a, BY_LANE, _mm512_setzero_si512());
    __m128i sum = _mm_xor_si128(_mm512_extracti32x4_epi32(a, 3), _mm512_castsi512_si128(moved));
    sum = _mm_xor_si128(sum, _mm512_extracti32x4_epi32(moved, 1));
    sum = _mm_xor_si128(sum, _mm512_extracti32x4_epi32(moved, 2));
    uint64_t c = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum));
    return (uint32_t)_mm_crc32_u64(c, (uint64_t)_mm_extract_epi64(sum, 1));
}

TARGET uint32_t crc32c_wide(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    if (len < STRIDE)
        return crc32c_hw(crc, p, len);
    __m512i start = _mm512_castsi128_si512(_mm_cvtsi32_si128((int)~crc));
    start = _mm512_maskz_mov_epi64(1, start); /* above the 128 bits the cast leaves anything */
    __m512i a = _mm512_xor_si512(load(p), start), b = load(p + WIDE);
    __m512i c = load(p + 2 * WIDE), d = load(p + 3 * WIDE);
    for (p += STRIDE, len -= STRIDE; len >= STRIDE; p += STRIDE, len -= STRIDE) {
        a = fold(a, BY_256, load(p));
        b = fold(b, BY_256, load(p + WIDE));
        c = fold(c, BY_256, load(p + 2 * WIDE));
        d = fold(d, BY_256, load(p + 3 * WIDE));
    }
    d = fold(fold(fold(a, BY_64, b), BY_64, c), BY_64, d);
    for (; len >= WIDE; p += WIDE, len -= WIDE)
        d = fold(d, BY_64, load(p));
    return crc32c_hw(~reduce(d), p, len);
}

#else /* another processor: the tables serve */

bool crc32c_wide_usable(void)
{
    return false;
}

uint32_t crc32c_wide(uint32_t crc, const void *p, size_t len)
{
    return crc32c_soft(crc, p, len);
}

#endif

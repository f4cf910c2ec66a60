/* crc32c_impl.h - the ways to compute crc32c.h, for crc32c.c and its test only. All take and
 * return the plain CRC (the inversions are inside) and agree on every input. Pure; any thread. */
#ifndef BASE_CRC32C_IMPL_H
#define BASE_CRC32C_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_soft(uint32_t crc, const void *p, size_t len);

/* Whether crc32c_hw may be called here: false on other processors than x86-64. */
bool crc32c_hw_usable(void);
uint32_t crc32c_hw(uint32_t crc, const void *p, size_t len);

/* Whether crc32c_wide may be called here: true on x86-64 with AVX-512 and VPCLMULQDQ only. */
bool crc32c_wide_usable(void);
uint32_t crc32c_wide(uint32_t crc, const void *p, size_t len);

#endif

/* crc32c.h - CRC-32C (Castagnoli, reflected, init and xorout ~0), as the wire and the log use it.
 * Uses the processor's instruction where there is one. Pure; any thread. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of <p>; start with crc 0, or with the CRC of what came before: crc32c(crc32c(0,a),b) is
 * the CRC of a then b. */
uint32_t crc32c(uint32_t crc, const void *p, size_t len);

#endif

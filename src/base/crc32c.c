/* crc32c.c - chooses how CRC-32C is computed.
 *
 * The processor was asked once, before main, by the compiler's runtime; the ..._usable functions
 * only look at what it found, so no state of ours is needed and the branches are always predicted.
 */
#include "base/crc32c.h"

#include "base/crc32c_impl.h"

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
    if (crc32c_wide_usable())
        return crc32c_wide(crc, p, len);
    if (crc32c_hw_usable())
        return crc32c_hw(crc, p, len);
    return crc32c_soft(crc, p, len);
}

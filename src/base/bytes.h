/* bytes.h - a growable byte string. Owned by one thread; zero-initialise or bytes_init. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

/* Room for <n> more bytes at data + len; returns that place. Does not change len. */
uint8_t *bytes_reserve(struct bytes *b, size_t n);
void bytes_append(struct bytes *b, const void *p, size_t n);
/* printf onto the end; data stays zero-terminated beyond len. */
void bytes_printf(struct bytes *b, const char *fmt, ...) TG_PRINTF(2, 3);
void bytes_fini(struct bytes *b); /* frees; leaves it empty and usable */

/* For "%.*s": the length of <s>, or less, so that it is at most <most> and no UTF-8 character is
 * cut in two. */
int bytes_of_text(const char *s, int most);

/* Big-endian integers, as the wire has them. */
static inline uint32_t get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline uint16_t get_be16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

static inline void put_be16(uint8_t *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}

#endif

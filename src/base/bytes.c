#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

enum { BYTES_MIN = 256 };

uint8_t *bytes_reserve(struct bytes *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap : BYTES_MIN;
        while (cap - b->len < n)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void bytes_append(struct bytes *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(bytes_reserve(b, n), p, n);
    b->len += n;
}

void bytes_printf(struct bytes *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    TG_ASSERT(n >= 0);
    char *at = (char *)bytes_reserve(b, (size_t)n + 1);
    vsnprintf(at, (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void bytes_fini(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

int bytes_of_text(const char *s, int most)
{
    int n = (int)strnlen(s, (size_t)most);
    while (n > 0 && ((unsigned char)s[n] & 0xC0) == 0x80)
        n--;
    return n;
}

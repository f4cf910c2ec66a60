#include "base/alloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *must(void *p, size_t n)
{
    if (!p && n) {
        fprintf(stderr, "tidegate: out of memory (%zu bytes wanted)\n", n);
        abort();
    }
    return p;
}

void *xmalloc(size_t n)
{
    return must(malloc(n), n);
}

size_t xsize(const void *p)
{
    return malloc_usable_size((void *)(uintptr_t)p);
}

void *xcalloc(size_t count, size_t size)
{
    return must(calloc(count, size), count * size);
}

void *xcalloc_aligned(size_t align, size_t count, size_t size)
{
    void *p = must(aligned_alloc(align, count * size), count * size);
    return memset(p, 0, count * size);
}

void *xrealloc(void *p, size_t n)
{
    return must(realloc(p, n), n);
}

char *xstrdup(const char *s)
{
    return must(strdup(s), 1);
}

char *xstrndup(const char *s, size_t n)
{
    return must(strndup(s, n), 1);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        must(NULL, 1);
    return s;
}

/* alloc.h - allocation that does not fail: memory is bounded by base/budget.h, so a failing malloc
 * means the machine is out of memory, and the process stops with a message. Any thread. */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdlib.h>

void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
/* Zeroed, at a multiple of <align>, which divides <size>. */
void *xcalloc_aligned(size_t align, size_t count, size_t size);
void *xrealloc(void *p, size_t n);
/* What an allocation takes in truth: allocators round up, large ones by up to a quarter. */
size_t xsize(const void *p);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* printf into a fresh string, which the caller frees. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

/* arena.c - where a connection's unpacked commands live until the next arena_reset.
 *
 * Blocks in a list, filled from the front of the newest; nothing is freed singly. Invariant: the
 * blocks together never exceed ARENA_MAX, so a command made of many tiny fields (each costs far
 * more unpacked than on the wire) fails to unpack instead of eating memory. */
#include "wire/arena.h"

#include <stdint.h>

#include "base/alloc.h"

enum {
    ARENA_ALIGN = 16,
    ARENA_BLOCK = 4 * 1024, /* kept across resets: the usual command needs a fraction of it */
    ARENA_BLOCK_MAX = 256 * 1024,
    /* An acknowledgement or redelivery request of some 50 000 ids, the most a consumer may have
     * outstanding by default, unpacked. */
    ARENA_MAX = 16 * 1024 * 1024,
};

struct arena_block {
    struct arena_block *older;
    size_t cap, used; /* of data */
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

struct arena {
    struct arena_block *newest;
    size_t held_bytes; /* caps of all blocks */
    ProtobufCAllocator allocator;
};

static struct arena_block *add_block(struct arena *a, size_t cap)
{
    struct arena_block *b = xmalloc(sizeof *b + cap);
    b->older = a->newest;
    b->cap = cap;
    b->used = 0;
    a->newest = b;
    a->held_bytes += cap;
    return b;
}

/* Twice the newest block, within its bounds, or as much as is asked for. */
static size_t next_cap(const struct arena *a, size_t n)
{
    size_t cap = a->newest->cap * 2;
    if (cap > ARENA_BLOCK_MAX)
        cap = ARENA_BLOCK_MAX;
    return cap < n ? n : cap;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > ARENA_MAX)
        return NULL;
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *b = a->newest;
    if (b->cap - b->used < n) {
        size_t cap = next_cap(a, n);
        if (cap > ARENA_MAX - a->held_bytes)
            return NULL;
        b = add_block(a, cap);
    }
    void *p = b->data + b->used;
    b->used += n;
    return p;
}

static void *alloc_for_protobuf(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void free_for_protobuf(void *arena, void *p)
{
    (void)arena, (void)p;
}

struct arena *arena_new(void)
{
    struct arena *a = xcalloc(1, sizeof *a);
    a->allocator = (ProtobufCAllocator){
        .alloc = alloc_for_protobuf, .free = free_for_protobuf, .allocator_data = a};
    add_block(a, ARENA_BLOCK);
    return a;
}

void arena_reset(struct arena *a)
{
    struct arena_block *b = a->newest;
    while (b->older) {
        struct arena_block *older = b->older;
        free(b);
        b = older;
    }
    b->used = 0;
    a->newest = b;
    a->held_bytes = b->cap;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    arena_reset(a);
    free(a->newest);
    free(a);
}

ProtobufCAllocator *arena_allocator(struct arena *a)
{
    return &a->allocator;
}

size_t arena_held_bytes(const struct arena *a)
{
    return a->held_bytes;
}

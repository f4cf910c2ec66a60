/* arena.h - the allocating side of command.h's arena. Inside wire/ only. One owner. */
#ifndef WIRE_ARENA_H
#define WIRE_ARENA_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "wire/command.h"

/* 16-byte aligned; NULL once the arena would hold more than ARENA_MAX. */
void *arena_alloc(struct arena *a, size_t n);

/* The arena as protobuf-c wants it: freeing does nothing. */
ProtobufCAllocator *arena_allocator(struct arena *a);

/* Bytes of blocks held now; for tests. */
size_t arena_held_bytes(const struct arena *a);

#endif

/* map.h - uthash with a hash that clients can't aim at: names and ids come from them, so the maps
 * hash with xxHash and a seed drawn at the start. Include this instead of uthash.h. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdint.h>
#include <xxhash.h>

uint64_t map_seed(void); /* the process's; drawn on first use; any thread */

#define HASH_FUNCTION(keyptr, keylen, hashv)                                                       \
    do {                                                                                           \
        (hashv) = (unsigned)XXH3_64bits_withSeed((keyptr), (keylen), map_seed());                  \
    } while (0)

#include <uthash.h>

#endif

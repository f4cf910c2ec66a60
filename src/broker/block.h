/* block.h - who an administrator has stopped: by a producer's name, a topic, a namespace, a tenant,
 * a client's address or its role. Pure: what a block does is in blocking.h, how it is made and kept
 * in registry_blocks.c.
 *
 * A blocked producer waits (REASON_BLOCKED), a blocked consumer is given nothing; both stay
 * connected and go on when the block ends. With <disconnect> they are sent away, and let in again
 * when it ends. From a blocked address no new connection is accepted. */
#ifndef BROKER_BLOCK_H
#define BROKER_BLOCK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "base/err.h"
#include "broker/names.h"

enum block_kind {
    BLOCK_PRODUCER, /* of that name, on any topic */
    BLOCK_TOPIC,    /* a partitioned topic's name: all its partitions */
    BLOCK_NAMESPACE,
    BLOCK_TENANT,
    BLOCK_ADDRESS, /* an IP address, or a range: 10.0.0.0/8 */
    BLOCK_ROLE,
    BLOCK_KINDS,
};
const char *block_kind_name(enum block_kind k); /* "producer", "topic", ... */

enum {
    BLOCKS_MAX = 10000,    /* every producer and consumer that comes is looked up in them */
    BLOCK_NOTE_MAX = 1024, /* bytes */
    BLOCK_ADDRESS_BITS = 128,
};

struct block_range {     /* also the key of a map: has no padding */
    uint8_t address[16]; /* IPv6, or IPv4 mapped into it; 0 where bits don't count */
    uint8_t prefix;      /* so many bits of it count */
};

struct block {
    UT_hash_handle hh; /* of a set: by name, or range, within a kind */
    struct block *prev, *next;
    uint64_t id;
    enum block_kind kind;
    char *name; /* a topic's is the full one; a range's the shortest: 10.1.0.0/16 */
    char *note; /* or NULL */
    char *by;   /* who made it: an address; or NULL */
    int64_t since_wall_ns;
    int64_t until_wall_ns; /* 0: until it is removed */
    bool disconnect;
    struct block_range range; /* BLOCK_ADDRESS */
};

/* What is asked for: {"kind":"topic","name":"...", "until":"2026-01-31T12:00:00Z" or
 * "durationMs":60000, "note":"...", "disconnect":true}. TG_EINVAL, TG_ERANGE (the end is not in the
 * future, the note is too long) with *why (caller frees). */
TG_MUSTCHECK enum tg_err block_from_json(struct block **out, const json_t *j, int64_t wall_ns,
                                         char **why);
/* The same with its id, "since", "by": what is stored, and shown. Times are texts as above. */
json_t *block_to_json(const struct block *b);
/* From its row. */
TG_MUSTCHECK enum tg_err block_from_row(struct block **out, const json_t *row);
struct block *block_copy(const struct block *b);
/* As a block of that kind is named: "x" is persistent://public/default/x, 10.1.2.3/8 is 10.0.0.0/8.
 * The caller frees it. NULL: no name of that kind. */
char *block_name(enum block_kind k, const char *text);
void block_free(struct block *b); /* NULL is fine */

/* Who is to be looked up. */
struct block_subject {
    const char *producer; /* its name; NULL: no producer */
    const struct topic_name *topic;
    const char *address; /* "127.0.0.1:40112", "[::1]:40112" */
    const char *role;    /* "": none */
};

/* Blocks to be looked up, by one owner. What a look-up costs does not grow with their number. */
struct block_set { /* fields private to block.c */
    struct block *map[BLOCK_KINDS];
    uint32_t count;
    uint32_t with_prefix[BLOCK_ADDRESS_BITS + 1]; /* so many ranges of each length */
};

struct block_set *block_set_new(void);
void block_set_free(struct block_set *s); /* NULL is fine */
/* Copies it, in place of one of its kind and name. */
void block_set_put(struct block_set *s, const struct block *b);
/* Takes out the one of the same kind and name, if it is there. */
void block_set_remove(struct block_set *s, const struct block *like);
/* The block that holds for <who>, one that disconnects first, else the narrowest; NULL: none. <s>
 * may be NULL. */
const struct block *block_set_match(const struct block_set *s, const struct block_subject *who);
/* The same of the address alone, or the role. */
const struct block *block_set_match_client(const struct block_set *s, const char *address,
                                           const char *role);

#endif

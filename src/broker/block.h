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
#include <stdatomic.h>
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
};

struct block {
    UT_hash_handle hh; /* of a set: by name, within a kind */
    struct block *prev, *next;
    uint64_t id;
    enum block_kind kind;
    char *name; /* a topic's is the full one */
    char *note; /* or NULL */
    char *by;   /* who made it: an address; or NULL */
    int64_t since_wall_ns;
    int64_t until_wall_ns; /* 0: until it is removed */
    bool disconnect;
    uint8_t address[16]; /* BLOCK_ADDRESS: IPv6, or IPv4 mapped into it */
    unsigned prefix;     /* so many bits of it count */
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
void block_free(struct block *b); /* NULL is fine */

/* Who is to be looked up. */
struct block_subject {
    const char *producer; /* its name; NULL: no producer */
    const struct topic_name *topic;
    const char *address; /* "127.0.0.1:40112", "[::1]:40112" */
    const char *role;    /* "": none */
};

/* Blocks to be looked up by any thread that holds it: it never changes. */
struct block_set { /* fields private to block.c */
    _Atomic int refs;
    struct block *by_name[BLOCK_KINDS]; /* maps */
    struct block *addresses;            /* list */
    bool any;
};

/* Copies <list> (by next). One reference is the caller's. */
struct block_set *block_set_new(const struct block *list);
struct block_set *block_set_ref(struct block_set *s);
void block_set_unref(struct block_set *s); /* NULL is fine */
/* The block that holds for <who>, one that disconnects first, else the narrowest; NULL: none. <s>
 * may be NULL. */
const struct block *block_set_match(const struct block_set *s, const struct block_subject *who);
/* The same of the address alone, or the role. */
const struct block *block_set_match_client(const struct block_set *s, const char *address,
                                           const char *role);

#endif

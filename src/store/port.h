/* port.h - a worker's door to the log. All of it belongs to the port's owner, but for the part
 * under done_lock, through which committer and readers hand back what they finished. */
#ifndef STORE_PORT_H
#define STORE_PORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/block.h"
#include "store/idmap.h"
#include "store/ledger_store.h"

struct log_store;

struct tail_slot {
    struct block *block;
    uint32_t offset; /* of the record in it */
};

struct tail { /* a ledger that this port appended to */
    uint64_t ledger;
    uint64_t next_entry; /* the one that the next append must bring */
    uint64_t first;      /* cached: entries first ... first + count - 1 */
    uint32_t count, head, mask;
    struct tail_slot *ring; /* NULL until something is cached */
};

/* Blocks that one cached read may pin; a read that meets more ends early. */
#define HOLD_BLOCKS 8

struct ls_hold {
    struct ls_hold *next; /* in the port's pool */
    uint32_t block_count;
    struct block *blocks[HOLD_BLOCKS]; /* a cached read's */
    void *buffer;                      /* a disk read's; NULL otherwise */
    struct ls_entry *entries;          /* a disk read's */
    int64_t charged_bytes;
};

struct read_job {
    struct read_job *next;
    struct log_port *port;
    uint64_t ledger, first, max_bytes;
    uint32_t max_entries;
    ls_read_done done;
    void *ctx;
    /* the result */
    enum tg_err err;
    uint32_t count;
    struct ls_hold *hold;
};

struct log_port {
    struct ls_port_base base;
    struct log_store *log;
    struct ls_port_ops ops;
    void *ctx;

    struct block *open;                /* the newest of blocks; records go here */
    struct batch *building;            /* what was appended since the last submit */
    struct batch *ready, **ready_tail; /* before it: batches whose block became full */
    uint32_t ready_count;
    uint64_t inflight_bytes;
    uint32_t outstanding; /* batches at the committer */

    struct idmap tails;
    struct tail *last_tail;              /* most appends are to the ledger of the one before */
    struct block *blocks, **blocks_tail; /* oldest first: the tail cache */
    struct block *block_pool;
    struct batch *batch_pool;
    struct ls_hold *hold_pool;
    uint32_t block_pool_count;
    uint32_t holds;
    uint32_t reads_asked; /* and not yet called back */

    struct log_port *next; /* store's list, under its lock */
    bool closing;          /* likewise */

    pthread_mutex_t done_lock;
    pthread_cond_t done_cond; /* something came back: port_close waits for it */
    struct batch *done, **done_tail;
    struct read_job *reads, **reads_tail;
    uint32_t reads_back; /* jobs in <reads> */
    bool woken;          /* wake was called and poll not yet */
    uint32_t wakers;     /* threads that are in ops.wake now */
    bool state_changed;
    enum ls_state state;
    char *why;
};

/* tailcache.c */
struct tail *port_find_tail(struct log_port *p, uint64_t ledger); /* NULL: none */
struct tail *port_add_tail(struct log_port *p, uint64_t ledger, uint64_t next_entry);
void port_drop_tail(struct log_port *p, uint64_t ledger);
void tail_push(struct tail *t, uint64_t entry, struct block *b, uint32_t offset);
void tail_forget(struct tail *t); /* caches nothing of it any more */
/* Entries below <first_needed> are not cached any more. */
void tail_trim(struct log_port *p, uint64_t ledger, uint64_t first_needed);
/* Lets go of the oldest blocks while nobody needs them or the cache's share of memory is overdrawn.
 */
void port_evict(struct log_port *p);
void block_unref(struct log_port *p, struct block *b);
uint32_t port_read_cached(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t max_entries,
                          uint64_t max_bytes, struct ls_entry *out, struct ls_hold **hold);
void port_release(struct ls_port *p, struct ls_hold *hold);
void port_free_cache(struct log_port *p);

/* port.c: the operations, for log.c's table */
struct ls_port *port_open(struct ledger_store *s, const struct ls_port_ops *ops, void *port_ctx);
void port_close(struct ls_port *p);
void port_poll(struct ls_port *p);
bool port_finish_reads(struct ls_port *p);
void port_submit(struct ls_port *p);
enum tg_err port_append(struct ls_port *p, uint64_t ledger, uint64_t entry,
                        const struct ls_body *body, uint32_t messages, int64_t admitted_ns,
                        void *ctx);
void port_read(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t max_entries,
               uint64_t max_bytes, ls_read_done done, void *ctx);
void port_trim(struct ls_port *p, uint64_t ledger, uint64_t first_needed);
void port_drop(struct ls_port *p, uint64_t ledger);

/* Any thread, with done_lock held, which it gives up: tells the owner once that something is there.
 * The owner is woken without the lock, or it would run straight into it; a port that closes waits
 * until nobody is about to wake it. */
void port_unlock_and_wake(struct log_port *p);
void port_put_state(struct log_port *p, enum ls_state state, const char *why); /* any thread */

#endif

/* engine.h - the inside of the segmented log, shared by its files. Who may touch what:
 *
 *   port owner    its struct log_port but for what is under done_lock
 *   committer     open segment's file, pending batches (committer.c)
 *   spare maker   files that are being made or freed (spare.c)
 *   readers       segments that they pinned (reader.c)
 *   copier        the segment that it pinned, the batch that it fills (copier.c)
 *
 *   lock          the queue to the committer, the state, the list of ports, the spare
 *   reg_lock      registry: ledgers, runs, segments' counters (registry.c)
 *   done_lock     of a port: what comes back to it
 *
 * Order: lock, then done_lock. reg_lock is taken alone. */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/block.h"
#include "store/disk.h"
#include "store/ledger_store.h"
#include "store/port.h"
#include "store/registry.h"
#include "store/segment.h"

#define SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define SEGMENT_BYTES_LEAST   (UINT64_C(64) << 10)

#define READER_THREADS 2 /* one slow read must not stop all others */

struct batch_queue {
    struct batch *head, **tail;
};

struct spare_maker { /* spare.c; under lock */
    pthread_t thread;
    pthread_cond_t work;
    bool wanted; /* a spare is to be made */
    bool hurry;  /* the committer stands still without it */
    bool stop;
    int error; /* errno of the last try; 0: it went well */
    struct segment *ready;
    struct segment *to_free; /* recycled: to be renamed */
    uint32_t *free_files;    /* generations in their names */
    uint32_t free_count, free_cap;
    uint32_t free_least; /* the fewest there were since look_ns */
    uint32_t doomed;     /* so many are to be deleted, one every now and then */
    int64_t look_ns;     /* when it was last looked how many are idle */
    uint32_t next_generation;
};

struct copier { /* copier.c; under lock */
    pthread_t thread;
    pthread_cond_t work;
    struct batch *handed; /* for the committer to take */
    bool under_way;       /* the committer has not given it back yet */
    bool lost;            /* the last one came back without having been written */
    bool look;            /* a segment may have become worth copying */
    bool stop;
};

struct read_queue { /* reader.c */
    pthread_t threads[READER_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t idle; /* a job was finished: ports that close wait for theirs */
    struct read_job *head, **tail;
    struct log_port *active[READER_THREADS]; /* whose job each thread works on; NULL: none */
    uint32_t started;                        /* threads that took their place in active */
    bool stop;
};

struct log_store {
    struct ledger_store base;
    int log_fd;  /* the directory log/ */
    int lock_fd; /* flock: one process */
    enum ls_durability durability;
    uint64_t segment_bytes;
    uint32_t block_bytes;
    uint64_t copy_bytes_per_s;
    int64_t shrink_after_ns;
    struct budget *budget;
    const struct ls_faults *faults;

    pthread_mutex_t lock;
    pthread_cond_t work; /* for the committer */
    struct batch_queue queue;
    bool committer_waits; /* for `work`: a submit must signal it */
    struct log_port *ports;
    enum ls_state state;
    char *why;    /* of the state, when not LS_OK */
    bool stop;    /* close was called */
    bool recheck; /* a segment may have become free to recycle */
    struct spare_maker spare;
    struct copier copier;

    pthread_t committer;
    struct batch_queue pending; /* the committer's: taken from queue, not yet written */
    struct batch *copy;         /* likewise, of the copier; NULL: none */
    struct segment *open;       /* the committer's; NULL until there is a spare to begin */
    uint64_t synced;            /* of the open segment: durable up to here */
    int64_t took_ns;            /* likewise: when it last had something to do */
    bool is_paced;              /* likewise: groups follow each other closely */
    uint64_t group_bytes;       /* likewise: of the last group */

    pthread_mutex_t reg_lock;
    struct registry reg;

    struct read_queue reads;

    _Atomic uint64_t appended_entries, appended_bytes, copied_bytes, commits, syncs;
};

/* committer.c */
void *committer_main(void *store);
/* The state changed: every port hears of it. LS_FAILED is for ever. Takes <why> (may be NULL). */
void log_set_state(struct log_store *log, enum ls_state state, char *why);

/* copier.c */
void *copier_main(void *store);
/* Its batch comes back from the committer. */
void copier_done(struct log_store *log, struct batch *b, bool lost);
void copier_look(struct log_store *log); /* there may be something to copy; any thread */

/* spare.c */
void *spare_main(void *store);
void spare_add_free(struct spare_maker *sp, uint32_t generation); /* lock held, or before start */

/* reader.c */
void *reader_main(void *store);
void reader_submit(struct log_store *log, struct read_job *job);
void reader_cancel(struct log_store *log, struct log_port *p); /* waits for those under way */

/* segdir.c: the files of log/ */
struct segdir {
    uint32_t *segments, *free_files; /* generations, ascending */
    uint32_t segment_count, free_count;
};
TG_MUSTCHECK int segdir_read(int log_fd, struct segdir *out); /* 0 or errno */
void segdir_fini(struct segdir *d);

/* recover.c: fills registry, open segment, spare and free files from the directory. */
TG_MUSTCHECK enum tg_err log_recover(struct log_store *log, char **why);

static inline void batch_queue_init(struct batch_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}
static inline void batch_queue_push(struct batch_queue *q, struct batch *b)
{
    b->next = NULL;
    *q->tail = b;
    q->tail = &b->next;
}
/* Moves all of <from> to the end of <to>. */
static inline void batch_queue_splice(struct batch_queue *to, struct batch_queue *from)
{
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    batch_queue_init(from);
}

/* pthread_cond_t on the monotonic clock, and a wait of at most <span_ns>. */
void cond_init_mono(pthread_cond_t *c);
void cond_wait_ns(pthread_cond_t *c, pthread_mutex_t *m, int64_t span_ns);

#endif

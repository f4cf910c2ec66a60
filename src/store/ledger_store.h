/* ledger_store.h - the one door to stored messages, narrow so that another engine can stand behind
 * it.
 *
 * A ledger is an append-only run of entries 0, 1, 2... owned by one worker. An entry is a body
 * (opaque bytes with their CRC-32C), the number of messages in it and the broker's time of
 * admission.
 *
 * Each worker opens a port. Calls on a port come from its owner only; results come back on it
 * through ls_port_poll, which the owner runs when the port's wake function has been called (any
 * thread calls that). Nothing here blocks the caller.
 *
 * Durability: an append is reported TG_OK only after its commit group is on disk (fdatasync
 * returned 0) or, in LS_OS mode, after write(2). Entries of one ledger are reported in order. A
 * full disk reports nothing: appends stay queued, LS_FULL is signalled, and they go on when there
 * is room. Any other error of the disk is final: LS_FAILED, nothing is reported any more, and the
 * process must end (a retry of a failed fsync lies). */
#ifndef STORE_LEDGER_STORE_H
#define STORE_LEDGER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/err.h"

enum ls_durability { LS_SYNC, LS_OS };
enum ls_state { LS_OK, LS_FULL, LS_FAILED };

#define LS_NO_ENTRY    UINT64_MAX /* "no entry": what last_entry says of an empty ledger */
#define LS_ALL_LEDGERS UINT64_MAX /* for log_dump */
#define LS_COPY_NEVER  UINT64_MAX /* for log_config: what copying costs is measured beside it */

struct ls_body { /* up to two pieces, taken as one run of bytes; copied before the call returns */
    const void *part[2];
    uint32_t len[2];
    uint32_t crc; /* CRC-32C of all of it: the caller has it from the wire */
};

struct ls_entry { /* an entry read back; valid until ls_entries_release */
    uint64_t entry;
    const uint8_t *body;
    uint32_t len;
    uint32_t crc;
    uint32_t messages;
    int64_t admitted_ns; /* wall clock */
};

struct ls_port;
struct ls_hold; /* keeps the bytes of entries that were read */

struct ls_port_ops {
    /* <ctx>: as given to ls_append. On the port's owner. */
    void (*on_append)(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e);
    /* The store became full, has room again, or failed (<why> names segment, call and error). */
    void (*on_state)(void *port_ctx, enum ls_state state, const char *why);
    void (*wake)(void *port_ctx); /* any thread */
};

/* A read's result, on the port's owner. <e>: TG_OK (with count >= 0 entries in order, none of them
 * past what is durable), TG_ECORRUPT (an entry failed its checksum), TG_EIO. Release when done. */
typedef void (*ls_read_done)(void *ctx, enum tg_err e, const struct ls_entry *entries,
                             uint32_t count, struct ls_hold *hold);

struct ls_stats {
    uint64_t appended_entries, appended_bytes, commits, syncs;
    uint64_t log_bytes;  /* of segments in use */
    uint64_t live_bytes; /* of entries that somebody may need */
    uint32_t segments, free_segments;
    uint64_t cache_bytes;
    uint64_t copied_bytes; /* of records that were copied forward */
};

struct ledger_store; /* an engine */

struct ledger_store_ops {
    struct ls_port *(*port_open)(struct ledger_store *s, const struct ls_port_ops *ops,
                                 void *port_ctx);
    void (*port_close)(struct ls_port *p);
    void (*port_poll)(struct ls_port *p);
    bool (*port_finish_reads)(struct ls_port *p);
    void (*port_submit)(struct ls_port *p);
    enum tg_err (*append)(struct ls_port *p, uint64_t ledger, uint64_t entry,
                          const struct ls_body *body, uint32_t messages, int64_t admitted_ns,
                          void *ctx);
    uint32_t (*read_cached)(struct ls_port *p, uint64_t ledger, uint64_t first,
                            uint32_t max_entries, uint64_t max_bytes, struct ls_entry *out,
                            struct ls_hold **hold);
    void (*read)(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t max_entries,
                 uint64_t max_bytes, ls_read_done done, void *ctx);
    void (*release)(struct ls_port *p, struct ls_hold *hold);
    uint64_t (*last_entry)(struct ledger_store *s, uint64_t ledger);
    uint64_t (*first_entry)(struct ledger_store *s, uint64_t ledger);
    void (*trim)(struct ls_port *p, uint64_t ledger, uint64_t first_needed);
    void (*drop)(struct ls_port *p, uint64_t ledger);
    enum tg_err (*each_ledger)(struct ledger_store *s, void (*fn)(void *ctx, uint64_t ledger),
                               void *ctx);
    void (*stats)(struct ledger_store *s, struct ls_stats *out);
    void (*close)(struct ledger_store *s);
};

struct ledger_store {
    const struct ledger_store_ops *ops; /* first member of every engine */
};

struct ls_port_base {
    struct ledger_store *store; /* first member of every engine's port */
};

static inline struct ledger_store *ls_of(struct ls_port *p)
{
    return ((struct ls_port_base *)p)->store;
}

static inline struct ls_port *ls_port_open(struct ledger_store *s, const struct ls_port_ops *ops,
                                           void *port_ctx)
{
    return s->ops->port_open(s, ops, port_ctx);
}
/* Callbacks not yet run are dropped: those of reads, and of appends (none when all were reported).
 */
static inline void ls_port_close(struct ls_port *p)
{
    ls_of(p)->ops->port_close(p);
}
/* Runs the callbacks of what has finished. Call when woken. */
static inline void ls_port_poll(struct ls_port *p)
{
    ls_of(p)->ops->port_poll(p);
}
/* Blocks until all reads asked for so far are done, and polls. False: there were none. What its
 * callbacks ask for is for the next call. */
static inline bool ls_port_finish_reads(struct ls_port *p)
{
    return ls_of(p)->ops->port_finish_reads(p);
}
/* Hands what was appended since the last call to the committer: once per loop turn. */
static inline void ls_port_submit(struct ls_port *p)
{
    ls_of(p)->ops->port_submit(p);
}
/* <entry> must be the ledger's last + 1 (asserted); a ledger begins to exist with its first entry.
 * The body is copied. TG_EBUSY: in-flight memory is used up, nothing was taken: park and try after
 * the next on_append. */
TG_MUSTCHECK static inline enum tg_err ls_append(struct ls_port *p, uint64_t ledger, uint64_t entry,
                                                 const struct ls_body *body, uint32_t messages,
                                                 int64_t admitted_ns, void *ctx)
{
    return ls_of(p)->ops->append(p, ledger, entry, body, messages, admitted_ns, ctx);
}
/* Entries from <first> on that are in memory, as many as fit the bounds (but one, however large, if
 * it is there). 0: none in memory - it may be on disk: ls_read. <out> has room for max_entries. */
static inline uint32_t ls_read_cached(struct ls_port *p, uint64_t ledger, uint64_t first,
                                      uint32_t max_entries, uint64_t max_bytes,
                                      struct ls_entry *out, struct ls_hold **hold)
{
    return ls_of(p)->ops->read_cached(p, ledger, first, max_entries, max_bytes, out, hold);
}
/* From disk, asynchronously; <done> is called from ls_port_poll. Entries that were trimmed are
 * skipped: the first one returned may be later than <first>. */
static inline void ls_read(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t max_entries,
                           uint64_t max_bytes, ls_read_done done, void *ctx)
{
    ls_of(p)->ops->read(p, ledger, first, max_entries, max_bytes, done, ctx);
}
static inline void ls_entries_release(struct ls_port *p, struct ls_hold *hold)
{
    ls_of(p)->ops->release(p, hold);
}
/* At open (before the ledger's owner appends): the last durable entry, LS_NO_ENTRY if none ever
 * was. */
static inline uint64_t ls_last_entry(struct ledger_store *s, uint64_t ledger)
{
    return s->ops->last_entry(s, ledger);
}
/* The first entry that can still be read; last + 1 when there is none. Any thread. */
static inline uint64_t ls_first_entry(struct ledger_store *s, uint64_t ledger)
{
    return s->ops->first_entry(s, ledger);
}
/* Entries before <first_needed> may go. They are readable until their segment is recycled; the last
 * entry id is remembered for ever. Cheap; call it often. */
static inline void ls_trim(struct ls_port *p, uint64_t ledger, uint64_t first_needed)
{
    ls_of(p)->ops->trim(p, ledger, first_needed);
}
/* The ledger is deleted: everything of it may go, its id is never used again. */
static inline void ls_drop(struct ls_port *p, uint64_t ledger)
{
    ls_of(p)->ops->drop(p, ledger);
}
/* After open, before the first append: every ledger there is, to drop those that nobody knows any
 * more. */
TG_MUSTCHECK static inline enum tg_err
ls_each_ledger(struct ledger_store *s, void (*fn)(void *ctx, uint64_t ledger), void *ctx)
{
    return s->ops->each_ledger(s, fn, ctx);
}
static inline void ls_stats(struct ledger_store *s, struct ls_stats *out) /* any thread */
{
    s->ops->stats(s, out);
}
/* Commits what is submitted, writes the clean-stop mark, frees. All ports closed. */
static inline void ls_close(struct ledger_store *s)
{
    s->ops->close(s);
}

/* ---- the default engine: one segmented log for all ledgers (log.c) ---- */

struct ls_faults; /* store/faults.h: what tests make fail */

struct log_config {
    const char *dir; /* exists; one process at a time (locked) */
    enum ls_durability durability;
    uint64_t segment_bytes;    /* 0: default */
    uint64_t copy_bytes_per_s; /* copying forward; 0: default */
    int64_t shrink_after_ns;   /* files idle for so long are deleted; 0: default */
    struct budget *budget;
    const struct ls_faults *faults; /* NULL in production */
};

/* Recovers and opens. On error *why (caller frees) says which file, offset, and what to do:
 * TG_EBUSY: another process has it; TG_ECORRUPT: damage (not a torn tail); TG_EIO, TG_ENOSPC. */
TG_MUSTCHECK enum tg_err log_open(struct ledger_store **out, const struct log_config *cfg,
                                  char **why);

struct log_findings {
    uint32_t segments;
    uint64_t entries, bytes; /* read: copies count; bytes of files */
    uint32_t problems;       /* lines printed */
    uint32_t stopping;       /* of them, those that stop a start */
    bool in_use;             /* by a broker: whether segments fit together was not looked at */
};
/* Reads all of a data directory, live or not, and prints one line per problem to <file> (a FILE *):
 * segment, offset, what is wrong. Read only; needs as much memory as the broker's index of segments
 * and one footer. TG_ECORRUPT: there are problems. TG_ENOENT, TG_EIO: *why says what could not be
 * read. */
TG_MUSTCHECK enum tg_err log_verify(const char *dir, void *file, struct log_findings *out,
                                    char **why);

/* Prints one line per entry of a data directory, live or not: segment, offset, ledger, entry,
 * admitted_ns, messages, bytes. Read only. For `tidegate store dump` and the tests' clock. */
TG_MUSTCHECK enum tg_err log_dump(const char *dir, uint64_t ledger_or_all, void *file, char **why);

#endif

/* committer.h - what the files of the committer's thread share: committer.c (its loop),
 * opensegment.c (the segment that is written to), recycle.c (segments that nobody needs). All of it
 * is called on that thread only, and without a lock held. */
#ifndef STORE_COMMITTER_H
#define STORE_COMMITTER_H

#include "store/engine.h"

#define GROUP_BATCHES_MOST 256

struct group { /* what is written with one write and one sync */
    struct batch *batches, **tail;
    uint32_t count;
    uint64_t bytes; /* of records, without the group header */
};

/* committer.c */
bool log_failed(struct log_store *log);
/* Of a call on a segment that returned <rc> (0 or errno). TG_OK, TG_ENOSPC, or TG_EIO: then the
 * store has failed. */
enum tg_err log_disk_result(struct log_store *log, int rc, const char *call, uint32_t generation);

/* opensegment.c */
/* Writes and syncs <g> at the open segment's end. */
TG_MUSTCHECK enum tg_err open_write(struct log_store *log, const struct group *g);
/* <g> is durable: readers may see it. */
void open_publish(struct log_store *log, const struct group *g);
/* Part of every segment that entries leave free, so that a full store can still log the trims that
 * let it recycle something. */
uint64_t open_reserve(const struct log_store *log);
/* Room for records of <bytes> with <entries> entries among them, and the footer afterwards, and
 * <reserve> left? */
bool open_fits(const struct log_store *log, uint64_t bytes, uint64_t entries, uint64_t reserve);
/* The open segment gets longer: for batch <b>, which no segment of the usual size has room for. */
TG_MUSTCHECK enum tg_err open_grow_for(struct log_store *log, const struct batch *b);
/* The open segment is used up (or there is none yet): seals it and begins the spare. The old one
 * stays open until the spare is there, for the trims of a full store. TG_EBUSY: it is being made;
 * TG_ENOSPC. */
TG_MUSTCHECK enum tg_err open_next(struct log_store *log);
/* Half full: the next one is made meanwhile. */
void open_want_spare(struct log_store *log);
/* Writes <blk>: records that are not a port's. They may use what is kept free for them. */
TG_MUSTCHECK enum tg_err open_write_own(struct log_store *log, struct block *blk);

/* recycle.c */
/* Sealed segments that nothing needs go to the spare maker, which renames them. */
void recycle(struct log_store *log);
/* Logs all trims that the log does not know yet. */
TG_MUSTCHECK enum tg_err recycle_log_trims(struct log_store *log);

#endif

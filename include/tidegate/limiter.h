/* tidegate/limiter.h - Tidegate's rate limiter as a library of its own: libtidegate-limiter.a.
 *
 * Arithmetic only: no I/O, no clock, no allocation, no dependency but libc. The caller passes the
 * time and owns the memory (every struct is embedded). A bucket, limit or meter has one owner, who
 * serialises the calls; a shared bucket or limit is spent by several threads, and has the one lock
 * of the library, off the way that most messages take. Read in this order: bucket.h (the contract),
 * limit.h (what a user sets), shared.h (several threads), shared_limit.h, meter.h.
 *
 *   cc prog.c -ltidegate-limiter                                                                */
#ifndef TIDEGATE_LIMITER_H
#define TIDEGATE_LIMITER_H

#include "limiter/bucket.h"
#include "limiter/limit.h"
#include "limiter/meter.h"
#include "limiter/shared.h"
#include "limiter/shared_limit.h"

#endif

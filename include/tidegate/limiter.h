/* tidegate/limiter.h - Tidegate's rate limiter as a library of its own: libtidegate-limiter.a.
 *
 * Arithmetic only: no I/O, no clock, no locks, no allocation, no dependency but libc. The caller
 * passes the time, owns the memory (every struct is embedded) and serialises the calls on one
 * object. Read in this order: bucket.h (the contract), limit.h (what a user sets), meter.h.
 *
 *   cc prog.c -ltidegate-limiter                                                                */
#ifndef TIDEGATE_LIMITER_H
#define TIDEGATE_LIMITER_H

#include "limiter/bucket.h"
#include "limiter/limit.h"
#include "limiter/meter.h"

#endif

/* wall_time.h - times of the wall clock as people and clients read them: RFC 3339, UTC, such as
 * "2026-01-31T12:00:00.123Z". No clock is read here. Any thread. */
#ifndef BASE_WALL_TIME_H
#define BASE_WALL_TIME_H

#include <stdint.h>

#include "base/err.h"

enum { WALL_TIME_MAX = 32 }; /* with the NUL */

/* With milliseconds; of 1970 and later, to the year 2262. */
void wall_time_format(int64_t wall_ns, char out[WALL_TIME_MAX]);
/* The fraction is optional, of any length. TG_EINVAL: no such time, or not after 1970. */
TG_MUSTCHECK enum tg_err wall_time_parse(const char *text, int64_t *wall_ns);

#endif

/* log.h - the log: one line per event on stderr, UTC time first. A line names its object
 * ("conn 17: ...", "topic persistent://t/n/x: ..."). Any thread may log; a line is written with one
 * write(2), so lines never mix. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level least);
/* "debug", "info", "warn", "error". */
TG_MUSTCHECK enum tg_err log_level_parse(const char *word, enum log_level *out);
void log_write(enum log_level level, const char *fmt, ...) TG_PRINTF(2, 3);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* At most `burst` lines per second from one place; what was kept back is counted and can be said
 * in the next line. One owner thread. */
struct log_gate {
    int64_t window_start_ns;
    uint32_t in_window;
    uint32_t suppressed; /* since the last line that was let through */
};
/* True when the caller may log now; *suppressed gets how many lines were kept back before it. */
bool log_gate_open(struct log_gate *g, uint32_t burst, int64_t now_ns, uint32_t *suppressed);
/* What was kept back and not said yet, if its second is over; it counts as said then. For a line
 * after the last one of a storm. */
uint32_t log_gate_kept_back(struct log_gate *g, int64_t now_ns);

#endif

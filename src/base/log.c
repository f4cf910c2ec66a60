#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "base/wall_time.h"

enum { LOG_LINE_MAX = 2048 };

static _Atomic int least_level = LOG_INFO; /* the one process-wide setting */

static const char *const level_word[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level least)
{
    atomic_store_explicit(&least_level, (int)least, memory_order_relaxed);
}

enum tg_err log_level_parse(const char *word, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(word, level_word[i]) == 0) {
            *out = (enum log_level)i;
            return TG_OK;
        }
    }
    return TG_EINVAL;
}

static size_t put_head(char *line, size_t cap, enum log_level level)
{
    char time[WALL_TIME_MAX];
    wall_time_format(wall_now_ns(), time);
    return (size_t)snprintf(line, cap, "%s %-5s ", time, level_word[level]);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    char line[LOG_LINE_MAX];
    size_t head = put_head(line, sizeof line, level);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + head, sizeof line - head - 1, fmt, ap);
    va_end(ap);
    size_t len = head + (n > 0 ? (size_t)n : 0);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = head; i < len; i++) /* names come from clients: keep a line one line */
        if ((unsigned char)line[i] < ' ')
            line[i] = '?';
    line[len++] = '\n';
    ssize_t r = write(STDERR_FILENO, line, len);
    (void)r; /* nowhere left to complain */
}

uint32_t log_gate_kept_back(struct log_gate *g, int64_t now_ns)
{
    uint32_t n = now_ns - g->window_start_ns >= MONO_S ? g->suppressed : 0;
    g->suppressed -= n;
    return n;
}

bool log_gate_open(struct log_gate *g, uint32_t burst, int64_t now_ns, uint32_t *suppressed)
{
    if (g->in_window == 0 || now_ns - g->window_start_ns >= MONO_S) {
        g->window_start_ns = now_ns;
        g->in_window = 0;
    }
    if (g->in_window >= burst) {
        g->suppressed++;
        return false;
    }
    g->in_window++;
    *suppressed = g->suppressed;
    g->suppressed = 0;
    return true;
}

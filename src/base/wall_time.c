/* wall_time.c - see wall_time.h. */
#include "base/wall_time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mono.h"

enum tg_err wall_time_parse(const char *text, int64_t *wall_ns)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return TG_EINVAL;
    int64_t ns = 0, unit = MONO_S;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++) {
            unit /= 10;
            ns += (*rest - '0') * unit;
        }
    time_t seconds = timegm(&tm);
    if (strcmp(rest, "Z") != 0 || seconds <= 0 || seconds > INT64_MAX / MONO_S - 1)
        return TG_EINVAL;
    *wall_ns = (int64_t)seconds * MONO_S + ns;
    return TG_OK;
}

void wall_time_format(int64_t wall_ns, char out[WALL_TIME_MAX])
{
    time_t seconds = wall_ns / MONO_S;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, WALL_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, WALL_TIME_MAX - n, ".%03dZ", (int)(wall_ns / MONO_MS % 1000));
}

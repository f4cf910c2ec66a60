#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

const char *err_text(enum tg_err e)
{
    static const char *const text[] = {
        [TG_OK] = "ok",
        [TG_EINVAL] = "malformed",
        [TG_ERANGE] = "outside what is allowed",
        [TG_ENOENT] = "no such thing",
        [TG_EEXIST] = "exists already",
        [TG_ECONFLICT] = "changed by somebody else",
        [TG_EBUSY] = "in use",
        [TG_ELIMIT] = "over a configured bound",
        [TG_ENOSPC] = "no space left",
        [TG_EIO] = "input/output error",
        [TG_ECORRUPT] = "damaged data",
        [TG_ECLOSED] = "closed",
        [TG_ETIMEOUT] = "timed out",
        [TG_EUNSUPPORTED] = "not supported",
    };
    if ((unsigned)e >= sizeof text / sizeof text[0])
        return "unknown error";
    return text[e];
}

void tg_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}

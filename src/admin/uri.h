/* uri.h - the request target: path segments and query arguments, percent-decoded one by one, so
 * that a %2F inside a segment stays inside it. Pure. */
#ifndef ADMIN_URI_H
#define ADMIN_URI_H

#include <stddef.h>

#include "base/err.h"

enum {
    URI_SEGMENTS_MAX = 16, /* the longest path served has 11 */
    URI_ARGS_MAX = 16,
};

struct uri_arg {
    char *name, *value;
};

struct uri {
    char *text; /* all decoded strings lie in it */
    char *segment[URI_SEGMENTS_MAX];
    int segments;
    struct uri_arg arg[URI_ARGS_MAX];
    int args;
};

/* A trailing '/' and doubled ones are ignored. TG_EINVAL: a bad escape or %00; TG_ELIMIT: too many
 * parts. uri_fini in each case. */
TG_MUSTCHECK enum tg_err uri_parse(struct uri *out, const char *target);
void uri_fini(struct uri *u);
/* The argument's value, "" for one without, NULL when it is not there. */
const char *uri_arg(const struct uri *u, const char *name);

#endif

/* url.h - the path of a request from a row's template. Pure.
 *
 * "{x}" is the argument or option x, percent-encoded as one segment; "{topic}" becomes
 * persistent/tenant/namespace/name from any form of a topic's name, "{namespace}" two segments; a
 * flag becomes true or false; "{/x}" is "/x" or, when x was left out, nothing. */
#ifndef CLI_URL_H
#define CLI_URL_H

#include "cli/command.h"

/* *out (caller frees), or TG_EINVAL with *why (caller frees) where an argument is no valid name. */
TG_MUSTCHECK enum tg_err url_path(const struct call *c, const char *template, char **out,
                                  char **why);
/* Everything but letters, digits and "-._~" as %XX. Caller frees. */
char *url_encode(const char *s);

#endif

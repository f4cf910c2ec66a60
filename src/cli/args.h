/* args.h - options and arguments of one command, in pulsar-admin's style: --name VALUE,
 * --name=VALUE, -n VALUE; options may stand before or after arguments; "--" ends them. Pure;
 * borrows argv. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { ARGS_OPTIONS_MAX = 24, ARGS_MAX = 4 };

struct cli_option {
    const char *name;   /* long name, without the dashes */
    const char *letter; /* short name without the dash, may be longer than a letter; NULL: none */
    const char *takes;  /* what the help calls its value; NULL: a flag */
    const char *help;
    bool required;
    bool is_number; /* a whole number from min to max */
    int64_t min, max;
};

struct args {
    const struct cli_option *options; /* ends with a row whose name is NULL */
    const char *value[ARGS_OPTIONS_MAX];
    const char *arg[ARGS_MAX];
    int count;
};

/* TG_EINVAL or TG_ERANGE with *why (caller frees), which names the option and what is allowed. */
TG_MUSTCHECK enum tg_err args_parse(struct args *out, const struct cli_option *options, int argc,
                                    char **argv, char **why);

/* NULL when it was not given; "" for a flag. The option must be in the table (asserted). */
const char *args_value(const struct args *a, const char *name);
bool args_has(const struct args *a, const char *name);
int64_t args_number(const struct args *a, const char *name, int64_t otherwise);

#endif

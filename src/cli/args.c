/* args.c - parsing of options by a table.
 *
 * An option that takes a value takes the next word whatever it looks like, so that "-m -1" means
 * minus one. Invariant: after success every required option is there and every number is in its
 * range, so that the commands need not look again. */
#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"

static int index_of(const struct cli_option *options, const char *name, size_t len)
{
    for (int i = 0; options[i].name; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return i;
    return -1;
}

static int index_of_word(const struct cli_option *options, const char *word, size_t len)
{
    if (len > 2 && word[1] == '-')
        return index_of(options, word + 2, len - 2);
    for (int i = 0; options[i].name; i++) {
        const char *letter = options[i].letter;
        if (letter && strlen(letter) == len - 1 && memcmp(letter, word + 1, len - 1) == 0)
            return i;
    }
    return -1;
}

static char *list_of(const struct cli_option *options)
{
    struct bytes b = {0};
    bytes_printf(&b, "%s", options[0].name ? "" : "no options");
    for (int i = 0; options[i].name; i++)
        bytes_printf(&b, "%s--%s", i ? ", " : "", options[i].name);
    return (char *)b.data;
}

static enum tg_err unknown_option(const struct cli_option *options, const char *word, char **why)
{
    char *list = list_of(options);
    *why = xasprintf("unknown option %s; allowed: %s", word, list);
    free(list);
    return TG_EINVAL;
}

static enum tg_err check_number(const struct cli_option *o, const char *value, char **why)
{
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    bool well_formed = (isdigit((unsigned char)*value) || *value == '-') && !*end && end != value;
    if (well_formed && errno == 0 && n >= o->min && n <= o->max)
        return TG_OK;
    *why = xasprintf("--%s %s is not allowed; allowed: a whole number from %" PRId64 " to %" PRId64,
                     o->name, value, o->min, o->max);
    return well_formed ? TG_ERANGE : TG_EINVAL;
}

static enum tg_err take_value(struct args *out, int i, const char *value, char **why)
{
    const struct cli_option *o = &out->options[i];
    if (out->value[i]) {
        *why = xasprintf("--%s is given twice", o->name);
        return TG_EINVAL;
    }
    out->value[i] = value;
    return o->is_number ? check_number(o, value, why) : TG_OK;
}

/* Takes the option at argv[*at], and the next word where that is its value. */
static enum tg_err take_option(struct args *out, int argc, char **argv, int *at, char **why)
{
    const char *word = argv[*at];
    size_t len = strcspn(word, "=");
    int i = index_of_word(out->options, word, len);
    if (i < 0)
        return unknown_option(out->options, word, why);
    const struct cli_option *o = &out->options[i];
    if (!o->takes && word[len]) {
        *why = xasprintf("--%s takes no value", o->name);
        return TG_EINVAL;
    }
    if (!o->takes)
        return take_value(out, i, "", why);
    if (word[len])
        return take_value(out, i, word + len + 1, why);
    if (*at + 1 >= argc) {
        *why = xasprintf("--%s needs a value: %s", o->name, o->takes);
        return TG_EINVAL;
    }
    return take_value(out, i, argv[++*at], why);
}

static enum tg_err check_required(const struct args *a, char **why)
{
    for (int i = 0; a->options[i].name; i++) {
        if (a->options[i].required && !a->value[i]) {
            *why = xasprintf("--%s %s is needed", a->options[i].name, a->options[i].takes);
            return TG_EINVAL;
        }
    }
    return TG_OK;
}

enum tg_err args_parse(struct args *out, const struct cli_option *options, int argc, char **argv,
                       char **why)
{
    *out = (struct args){.options = options};
    *why = NULL;
    bool options_ended = false;
    for (int at = 0; at < argc; at++) {
        const char *word = argv[at];
        if (!options_ended && strcmp(word, "--") == 0) {
            options_ended = true;
        } else if (!options_ended && word[0] == '-' && word[1]) {
            enum tg_err e = take_option(out, argc, argv, &at, why);
            if (e != TG_OK)
                return e;
        } else if (out->count == ARGS_MAX) {
            *why = xasprintf("too many arguments, from '%s' on", word);
            return TG_EINVAL;
        } else {
            out->arg[out->count++] = word;
        }
    }
    return check_required(out, why);
}

const char *args_value(const struct args *a, const char *name)
{
    int i = index_of(a->options, name, strlen(name));
    TG_ASSERT(i >= 0);
    return a->value[i];
}

bool args_has(const struct args *a, const char *name)
{
    return args_value(a, name) != NULL;
}

int64_t args_number(const struct args *a, const char *name, int64_t otherwise)
{
    const char *value = args_value(a, name);
    return value ? strtoll(value, NULL, 10) : otherwise;
}

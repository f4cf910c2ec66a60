/* uri.c - splits first, decodes then: what was escaped never separates. */
#include "admin/uri.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place. A zero byte is refused: it would end the name early. */
static bool decode(char *s, bool plus_is_blank)
{
    char *out = s;
    for (; *s != 0; s++) {
        if (*s == '%') {
            int high = hex_digit(s[1]);
            int low = high < 0 ? -1 : hex_digit(s[2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            *out++ = (char)(high * 16 + low);
            s += 2;
        } else {
            *out++ = *s == '+' && plus_is_blank ? ' ' : *s;
        }
    }
    *out = 0;
    return true;
}

static TG_MUSTCHECK enum tg_err split_path(struct uri *u, char *path)
{
    char *save = NULL;
    for (char *s = strtok_r(path, "/", &save); s != NULL; s = strtok_r(NULL, "/", &save)) {
        if (u->segments == URI_SEGMENTS_MAX)
            return TG_ELIMIT;
        if (!decode(s, false))
            return TG_EINVAL;
        u->segment[u->segments++] = s;
    }
    return TG_OK;
}

static TG_MUSTCHECK enum tg_err split_query(struct uri *u, char *query)
{
    char *save = NULL;
    for (char *s = strtok_r(query, "&", &save); s != NULL; s = strtok_r(NULL, "&", &save)) {
        if (u->args == URI_ARGS_MAX)
            return TG_ELIMIT;
        char *value = strchr(s, '=');
        if (value != NULL)
            *value++ = 0;
        else
            value = s + strlen(s);
        if (!decode(s, true) || !decode(value, true))
            return TG_EINVAL;
        u->arg[u->args++] = (struct uri_arg){s, value};
    }
    return TG_OK;
}

enum tg_err uri_parse(struct uri *out, const char *target)
{
    *out = (struct uri){.text = xstrdup(target)};
    char *query = strchr(out->text, '?');
    if (query != NULL)
        *query++ = 0;
    enum tg_err e = split_path(out, out->text);
    if (e == TG_OK && query != NULL)
        e = split_query(out, query);
    return e;
}

void uri_fini(struct uri *u)
{
    free(u->text);
    *u = (struct uri){0};
}

const char *uri_arg(const struct uri *u, const char *name)
{
    for (int i = 0; i < u->args; i++)
        if (strcmp(u->arg[i].name, name) == 0)
            return u->arg[i].value;
    return NULL;
}

/* url.c - templates to paths. Names are checked here before anything is sent, so that a typing
 * error is answered without a broker, and what is sent never has a segment too many. */
#include "cli/url.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "broker/names.h"

enum { PLACEHOLDER_MAX = 48 }; /* longer than any name in the tables */

static void append_encoded(struct bytes *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (isalnum(c) || strchr("-._~", c))
            bytes_append(b, s, 1);
        else
            bytes_printf(b, "%%%02X", c);
    }
}

static char *take_text(struct bytes *b)
{
    bytes_append(b, "", 1);
    return (char *)b->data;
}

char *url_encode(const char *s)
{
    struct bytes b = {0};
    append_encoded(&b, s);
    return take_text(&b);
}

static enum tg_err append_topic(struct bytes *b, const char *name, char **why)
{
    struct topic_name n;
    const char *reason = NULL;
    if (topic_name_parse(&n, name, &reason) != TG_OK) {
        *why = xasprintf("topic '%s': %s", name, reason);
        return TG_EINVAL;
    }
    bytes_printf(b, "%s/", n.persistent ? "persistent" : "non-persistent");
    append_encoded(b, n.tenant);
    bytes_append(b, "/", 1);
    append_encoded(b, n.ns + strlen(n.tenant) + 1);
    bytes_append(b, "/", 1);
    append_encoded(b, n.local);
    topic_name_fini(&n);
    return TG_OK;
}

static enum tg_err append_namespace(struct bytes *b, const char *name, char **why)
{
    const char *slash = strchr(name, '/');
    if (!slash || slash == name || !slash[1] || strchr(slash + 1, '/')) {
        *why = xasprintf("namespace '%s': allowed: tenant/namespace", name);
        return TG_EINVAL;
    }
    char *tenant = xstrndup(name, (size_t)(slash - name));
    append_encoded(b, tenant);
    free(tenant);
    bytes_append(b, "/", 1);
    append_encoded(b, slash + 1);
    return TG_OK;
}

static bool is_option(const struct call *c, const char *name)
{
    for (int i = 0; c->args.options[i].name; i++)
        if (strcmp(c->args.options[i].name, name) == 0)
            return true;
    return false;
}

static bool is_flag(const struct call *c, const char *name)
{
    for (int i = 0; c->args.options[i].name; i++)
        if (strcmp(c->args.options[i].name, name) == 0)
            return !c->args.options[i].takes;
    return false;
}

static enum tg_err append_value(struct bytes *b, const struct call *c, const char *name, char **why)
{
    if (is_flag(c, name)) {
        bytes_printf(b, "%s", args_has(&c->args, name) ? "true" : "false");
        return TG_OK;
    }
    bool optional = *name == '/';
    name += optional;
    const char *value = is_option(c, name) ? args_value(&c->args, name) : call_arg(c, name);
    if (!value && optional)
        return TG_OK;
    TG_ASSERT(value); /* the table asks for what it does not require */
    if (!*value) {
        *why = xasprintf("%s must not be empty", name);
        return TG_EINVAL;
    }
    if (optional)
        bytes_append(b, "/", 1);
    if (strcmp(name, "topic") == 0)
        return append_topic(b, value, why);
    if (strcmp(name, "namespace") == 0)
        return append_namespace(b, value, why);
    append_encoded(b, value);
    return TG_OK;
}

enum tg_err url_path(const struct call *c, const char *template, char **out, char **why)
{
    struct bytes b = {0};
    *out = *why = NULL;
    for (const char *p = template; *p;) {
        if (*p != '{') {
            bytes_append(&b, p++, 1);
            continue;
        }
        char name[PLACEHOLDER_MAX];
        size_t len = strcspn(++p, "}");
        TG_ASSERT(len < sizeof name && p[len] == '}');
        memcpy(name, p, len);
        name[len] = '\0';
        p += len + 1;
        enum tg_err e = append_value(&b, c, name, why);
        if (e != TG_OK) {
            bytes_fini(&b);
            return e;
        }
    }
    *out = take_text(&b);
    return TG_OK;
}

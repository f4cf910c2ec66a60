/* route.c - matching of paths against patterns. The table is small and administration is rare: it
 * is walked from the top. */
#include "admin/route.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const method_names[HTTP_METHODS] = {"GET", "PUT", "POST", "DELETE"};
static const char *const capture_names[CAP_COUNT] = {"domain", "tenant", "ns",   "topic",
                                                     "sub",    "number", "name", "value"};

const char *http_method_name(enum http_method m)
{
    return method_names[m];
}

enum http_method http_method_parse(const char *word)
{
    if (strcmp(word, "HEAD") == 0)
        return HTTP_GET;
    for (int i = 0; i < HTTP_METHODS; i++)
        if (strcmp(word, method_names[i]) == 0)
            return (enum http_method)i;
    return HTTP_METHODS;
}

static bool is_whole_number(const char *s)
{
    char *end;
    errno = 0;
    (void)strtoll(s, &end, 10);
    bool starts_well = *s == '-' || (*s >= '0' && *s <= '9');
    return starts_well && *end == 0 && errno == 0;
}

static bool fits(enum capture c, const char *segment)
{
    if (c == CAP_DOMAIN)
        return strcmp(segment, "persistent") == 0 || strcmp(segment, "non-persistent") == 0;
    if (c == CAP_NUMBER)
        return is_whole_number(segment);
    return true;
}

static enum capture capture_of(const char *name, size_t len)
{
    for (int i = 0; i < CAP_COUNT; i++)
        if (strlen(capture_names[i]) == len && strncmp(capture_names[i], name, len) == 0)
            return (enum capture)i;
    return CAP_COUNT;
}

/* One part of a pattern against one segment. */
static bool part_fits(const char *part, size_t len, const char *segment, const char **capture)
{
    if (part[0] != '{')
        return strlen(segment) == len && strncmp(part, segment, len) == 0;
    enum capture c = capture_of(part + 1, len - 2);
    TG_ASSERT(c != CAP_COUNT); /* a misspelt pattern */
    if (!fits(c, segment))
        return false;
    capture[c] = segment;
    return true;
}

static bool pattern_fits(const char *pattern, const struct uri *u, const char **capture)
{
    int i = 0;
    while (*pattern == '/') {
        const char *part = pattern + 1;
        size_t len = strcspn(part, "/");
        if (i == u->segments || !part_fits(part, len, u->segment[i], capture))
            return false;
        i++;
        pattern = part + len;
    }
    return i == u->segments;
}

void route_match(struct route_match *out, const struct route *table, size_t count,
                 enum http_method method, const struct uri *u)
{
    *out = (struct route_match){0};
    for (size_t i = 0; i < count; i++) {
        const char *capture[CAP_COUNT] = {0};
        if (!pattern_fits(table[i].pattern, u, capture))
            continue;
        out->allowed |= 1u << table[i].method;
        if (out->route == NULL && table[i].method == method) {
            out->route = &table[i];
            memcpy(out->capture, capture, sizeof capture);
        }
    }
}

/* names.c - parsing and checking of names.
 *
 * A name that passes here is safe everywhere else: it is UTF-8 without control characters, so it
 * can be a metadata key (whose parts are separated by '/' and a line feed), a JSON string, a label
 * of a metric and a field of a log line. */
#include "broker/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static const char persistent_scheme[] = "persistent://";
static const char volatile_scheme[] = "non-persistent://";
static const char partition_mark[] = "-partition-";

enum { PARTITION_DIGITS_MAX = 9 }; /* fits an int; nobody has a billion partitions */

/* The length of the UTF-8 sequence at <s>, 0 when it is malformed, overlong or a surrogate. */
static int utf8_sequence(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    int n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : 0;
    if (s[0] >= 0xF0 && s[0] <= 0xF4)
        n = 4;
    for (int i = 1; i < n; i++) /* a terminating zero is no continuation: never reads past it */
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

static bool is_clean_text(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    while (*p != 0) {
        int n = utf8_sequence(p);
        if (n == 0 || *p < 0x20 || *p == 0x7F)
            return false;
        p += n;
    }
    return true;
}

static bool is_name_char(unsigned char c)
{
    return isalnum(c) || c == '-' || c == '=' || c == ':' || c == '.' || c == '_';
}

static bool is_valid_part(const char *s, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_char((unsigned char)s[i]))
            return false;
    return true;
}

bool name_is_valid(const char *s)
{
    return is_valid_part(s, strlen(s));
}

bool name_is_valid_subscription(const char *s)
{
    size_t len = strlen(s);
    return len > 0 && len <= NAME_MAX_LEN && strchr(s, '/') == NULL && is_clean_text(s);
}

bool name_is_valid_producer(const char *s)
{
    return strlen(s) <= NAME_MAX_LEN && is_clean_text(s);
}

bool name_is_system_topic(const char *local)
{
    return strncmp(local, "__", 2) == 0;
}

/* x-partition-12 is partition 12 of x. Only the canonical spelling counts: x-partition-012 is a
 * topic of its own, or two names would mean one partition. */
static void find_partition(struct topic_name *n)
{
    n->partition = -1;
    const char *mark = NULL;
    for (const char *p = strstr(n->local, partition_mark); p != NULL;
         p = strstr(p + 1, partition_mark))
        mark = p;
    if (mark == NULL || mark == n->local)
        return;
    const char *digits = mark + sizeof partition_mark - 1;
    size_t len = strlen(digits);
    if (len == 0 || len > PARTITION_DIGITS_MAX || strspn(digits, "0123456789") != len ||
        (digits[0] == '0' && len > 1))
        return;
    n->partition = (int)strtol(digits, NULL, 10);
    n->partitioned = xstrndup(n->full, (size_t)(mark - n->full));
}

static const char *split_path(const char *path, size_t *tenant_len, size_t *ns_len,
                              const char **local)
{
    const char *slash = strchr(path, '/');
    const char *second = slash != NULL ? strchr(slash + 1, '/') : NULL;
    if (second == NULL)
        return "a topic is named tenant/namespace/topic";
    *tenant_len = (size_t)(slash - path);
    *ns_len = (size_t)(second - slash - 1);
    *local = second + 1;
    if (!is_valid_part(path, *tenant_len))
        return "the tenant's name may hold letters, digits and -=:._ only";
    if (!is_valid_part(slash + 1, *ns_len))
        return "the namespace's name may hold letters, digits and -=:._ only";
    if (**local == 0)
        return "the topic's own name is empty";
    if (strchr(*local, '/') != NULL)
        return "the topic's own name may not hold a '/'";
    if (!is_clean_text(*local))
        return "the topic's own name must be UTF-8 without control characters";
    return NULL;
}

enum tg_err topic_name_parse(struct topic_name *out, const char *s, const char **why)
{
    *out = (struct topic_name){.persistent = true, .partition = -1};
    if (strlen(s) > NAME_MAX_LEN) {
        *why = "the topic's name is too long";
        return TG_EINVAL;
    }
    const char *path = s;
    if (strncmp(s, persistent_scheme, sizeof persistent_scheme - 1) == 0) {
        path += sizeof persistent_scheme - 1;
    } else if (strncmp(s, volatile_scheme, sizeof volatile_scheme - 1) == 0) {
        path += sizeof volatile_scheme - 1;
        out->persistent = false;
    } else if (strstr(s, "://") != NULL) {
        *why = "a topic's name begins with persistent:// or non-persistent://";
        return TG_EINVAL;
    }
    char *completed = NULL;
    if (path == s && strchr(s, '/') == NULL)
        path = completed = xasprintf("public/default/%s", s);

    size_t tenant_len, ns_len;
    const char *local;
    *why = split_path(path, &tenant_len, &ns_len, &local);
    if (*why == NULL) {
        out->full = xasprintf("%s%s", out->persistent ? persistent_scheme : volatile_scheme, path);
        out->tenant = xstrndup(path, tenant_len);
        out->ns = xstrndup(path, tenant_len + 1 + ns_len);
        out->local = out->full + (strlen(out->full) - strlen(local));
        find_partition(out);
    }
    free(completed);
    return *why == NULL ? TG_OK : TG_EINVAL;
}

void topic_name_fini(struct topic_name *n)
{
    free(n->full);
    free(n->ns);
    free(n->tenant);
    free(n->partitioned);
    *n = (struct topic_name){.partition = -1};
}

/* block.c - see block.h. Each worker has a set of its own: looking somebody up takes no lock, one
 * hash per kind and per length of a range's prefix that is in use, and nothing at all while there
 * are no blocks. */
#include "broker/block.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "base/wall_time.h"

enum { MAPPED_BITS = 96 };

const char *block_kind_name(enum block_kind k)
{
    static const char *const name[] = {
        [BLOCK_PRODUCER] = "producer", [BLOCK_TOPIC] = "topic",     [BLOCK_NAMESPACE] = "namespace",
        [BLOCK_TENANT] = "tenant",     [BLOCK_ADDRESS] = "address", [BLOCK_ROLE] = "role",
    };
    return name[k];
}

/* ---- addresses ---- */

static bool parse_ip(const char *text, uint8_t out[16], bool *is_v4)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    *is_v4 = inet_pton(AF_INET, text, out + 12) == 1;
    if (!*is_v4)
        return inet_pton(AF_INET6, text, out) == 1;
    memcpy(out, mapped, sizeof mapped);
    return true;
}

/* Of <from>: the bits beyond the prefix are 0. */
static struct block_range range_of(const uint8_t from[16], unsigned prefix)
{
    struct block_range r = {.prefix = (uint8_t)prefix};
    memcpy(r.address, from, prefix / 8);
    if (prefix % 8 != 0)
        r.address[prefix / 8] = (uint8_t)(from[prefix / 8] & (0xff << (8 - prefix % 8)));
    return r;
}

/* "10.0.0.0/8" */
static bool parse_range(struct block_range *out, bool *is_v4, const char *name)
{
    char text[INET6_ADDRSTRLEN + 1];
    uint8_t address[16];
    const char *slash = strchr(name, '/');
    size_t len = slash != NULL ? (size_t)(slash - name) : strlen(name);
    if (len >= sizeof text)
        return false;
    memcpy(text, name, len);
    text[len] = '\0';
    if (!parse_ip(text, address, is_v4))
        return false;
    unsigned most = *is_v4 ? 32 : BLOCK_ADDRESS_BITS;
    unsigned long bits = most;
    if (slash != NULL) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > most)
            return false;
    }
    *out = range_of(address, (unsigned)bits + (*is_v4 ? MAPPED_BITS : 0));
    return true;
}

static char *range_name(const char *text)
{
    struct block_range r;
    bool is_v4;
    char address[INET6_ADDRSTRLEN];
    if (!parse_range(&r, &is_v4, text))
        return NULL;
    if (r.prefix == BLOCK_ADDRESS_BITS) /* 10.1.2.3 over IPv6 is the same */
        is_v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)r.address);
    inet_ntop(is_v4 ? AF_INET : AF_INET6, r.address + (is_v4 ? MAPPED_BITS / 8 : 0), address,
              sizeof address);
    if (r.prefix == BLOCK_ADDRESS_BITS)
        return xstrdup(address);
    return xasprintf("%s/%d", address, r.prefix - (is_v4 ? MAPPED_BITS : 0));
}

/* Of "127.0.0.1:40112" or "[::1]:40112". */
static bool parse_peer(const char *peer, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN + 1];
    const char *end = strrchr(peer, ':');
    bool is_v4;
    if (*peer == '[') {
        peer++;
        end = strchr(peer, ']');
    }
    if (end == NULL || (size_t)(end - peer) >= sizeof text)
        return false;
    memcpy(text, peer, (size_t)(end - peer));
    text[end - peer] = '\0';
    return parse_ip(text, out, &is_v4);
}

/* ---- one block ---- */

void block_free(struct block *b)
{
    if (b == NULL)
        return;
    free(b->name);
    free(b->note);
    free(b->by);
    free(b);
}

struct block *block_copy(const struct block *b)
{
    struct block *c = xmalloc(sizeof *c);
    *c = *b;
    c->name = xstrdup(b->name);
    c->note = b->note != NULL ? xstrdup(b->note) : NULL;
    c->by = b->by != NULL ? xstrdup(b->by) : NULL;
    return c;
}

static bool is_ns_name(const char *name)
{
    const char *slash = strchr(name, '/');
    if (slash == NULL || !name_is_valid(slash + 1))
        return false;
    char *tenant = xasprintf("%.*s", (int)(slash - name), name);
    bool ok = name_is_valid(tenant);
    free(tenant);
    return ok;
}

static char *full_topic_name(const char *text)
{
    struct topic_name n;
    const char *why;
    if (topic_name_parse(&n, text, &why) != TG_OK)
        return NULL;
    char *full = xstrdup(n.full);
    topic_name_fini(&n);
    return full;
}

char *block_name(enum block_kind k, const char *text)
{
    bool ok = false;
    switch (k) {
    case BLOCK_TOPIC:
        return full_topic_name(text);
    case BLOCK_ADDRESS:
        return range_name(text);
    case BLOCK_NAMESPACE:
        ok = is_ns_name(text);
        break;
    case BLOCK_TENANT:
        ok = name_is_valid(text);
        break;
    default:
        ok = *text != '\0' && name_is_valid_producer(text);
    }
    return ok ? xstrdup(text) : NULL;
}

static enum tg_err read_kind_and_name(struct block *b, const json_t *j, char **why)
{
    const char *kind = json_string_value(json_object_get(j, "kind"));
    const char *name = json_string_value(json_object_get(j, "name"));
    int k = 0;
    while (k < BLOCK_KINDS && (kind == NULL || strcmp(kind, block_kind_name(k)) != 0))
        k++;
    if (k == BLOCK_KINDS || name == NULL) {
        *why = xasprintf("\"kind\" is one of producer, topic, namespace, tenant, address, role; "
                         "\"name\" is a text");
        return TG_EINVAL;
    }
    bool is_v4;
    b->kind = (enum block_kind)k;
    b->name = block_name(b->kind, name);
    if (b->name != NULL && (k != BLOCK_ADDRESS || parse_range(&b->range, &is_v4, b->name)))
        return TG_OK;
    *why = xasprintf("\"name\" is not the name of %s%s", k == BLOCK_ADDRESS ? "an " : "a ", kind);
    return TG_EINVAL;
}

static bool read_text(const json_t *j, const char *key, char **out)
{
    const json_t *v = json_object_get(j, key);
    const char *text = json_string_value(v);
    if (text != NULL)
        *out = xstrdup(text);
    return v == NULL || json_is_null(v) || text != NULL;
}

static bool read_time(const json_t *j, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(j, key);
    if (v == NULL || json_is_null(v))
        return true;
    return json_is_string(v) && wall_time_parse(json_string_value(v), out) == TG_OK;
}

static enum tg_err read_end(struct block *b, const json_t *j, int64_t wall_ns, char **why)
{
    const json_t *ms = json_object_get(j, "durationMs");
    const int64_t most_ms = INT64_C(100) * 366 * 24 * 3600 * 1000;
    if (!read_time(j, "until", &b->until_wall_ns)) {
        *why = xasprintf("\"until\" is a time such as 2026-01-31T12:00:00Z");
        return TG_EINVAL;
    }
    if (ms != NULL) {
        int64_t n = json_integer_value(ms);
        if (!json_is_integer(ms) || n < 1 || n > most_ms || b->until_wall_ns != 0) {
            *why = xasprintf("\"durationMs\" is a whole number from 1, without \"until\"");
            return TG_EINVAL;
        }
        b->until_wall_ns = wall_ns + n * MONO_MS;
    }
    if (b->until_wall_ns != 0 && b->until_wall_ns <= wall_ns) {
        *why = xasprintf("the block would have ended already");
        return TG_ERANGE;
    }
    return TG_OK;
}

static enum tg_err read_rest(struct block *b, const json_t *j, char **why)
{
    const json_t *disconnect = json_object_get(j, "disconnect");
    b->disconnect = json_is_true(disconnect);
    if ((disconnect != NULL && !json_is_boolean(disconnect)) || !read_text(j, "note", &b->note)) {
        *why = xasprintf("\"note\" is a text, \"disconnect\" true or false");
        return TG_EINVAL;
    }
    if (b->note != NULL && strlen(b->note) > BLOCK_NOTE_MAX) {
        *why = xasprintf("the note is longer than %d bytes", BLOCK_NOTE_MAX);
        return TG_ERANGE;
    }
    return TG_OK;
}

static enum tg_err check_fields(const json_t *j, char **why)
{
    static const char *const known[] = {"kind",       "name", "until",
                                        "durationMs", "note", "disconnect"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0)
            i++;
        if (i == sizeof known / sizeof *known) {
            *why = xasprintf("a block has no field \"%s\"", key);
            return TG_EINVAL;
        }
    }
    return TG_OK;
}

enum tg_err block_from_json(struct block **out, const json_t *j, int64_t wall_ns, char **why)
{
    struct block *b = xcalloc(1, sizeof *b);
    *out = NULL;
    *why = NULL;
    enum tg_err e = check_fields(j, why);
    if (e == TG_OK)
        e = read_kind_and_name(b, j, why);
    if (e == TG_OK)
        e = read_end(b, j, wall_ns, why);
    if (e == TG_OK)
        e = read_rest(b, j, why);
    if (e == TG_OK) {
        b->since_wall_ns = wall_ns;
        *out = b;
        return TG_OK;
    }
    block_free(b);
    return e;
}

static json_t *json_time(int64_t wall_ns)
{
    char text[WALL_TIME_MAX];
    if (wall_ns == 0)
        return json_null();
    wall_time_format(wall_ns, text);
    return json_string(text);
}

json_t *block_to_json(const struct block *b)
{
    return json_pack("{s:I,s:s,s:s,s:o,s:o,s:s?,s:b,s:s?}", "id", (json_int_t)b->id, "kind",
                     block_kind_name(b->kind), "name", b->name, "since",
                     json_time(b->since_wall_ns), "until", json_time(b->until_wall_ns), "note",
                     b->note, "disconnect", b->disconnect, "by", b->by);
}

enum tg_err block_from_row(struct block **out, const json_t *row)
{
    struct block *b = xcalloc(1, sizeof *b);
    char *why = NULL;
    json_int_t id = json_integer_value(json_object_get(row, "id"));
    bool ok = id > 0 && read_kind_and_name(b, row, &why) == TG_OK &&
              read_time(row, "since", &b->since_wall_ns) &&
              read_time(row, "until", &b->until_wall_ns) && read_rest(b, row, &why) == TG_OK &&
              read_text(row, "by", &b->by);
    free(why);
    b->id = (uint64_t)id;
    *out = ok ? b : NULL;
    if (!ok)
        block_free(b);
    return ok ? TG_OK : TG_ECORRUPT;
}

/* ---- sets ---- */

struct block_set *block_set_new(void)
{
    return xcalloc(1, sizeof(struct block_set));
}

static struct block *same(const struct block_set *s, const struct block *like)
{
    struct block *b;
    if (like->kind == BLOCK_ADDRESS)
        HASH_FIND(hh, s->map[BLOCK_ADDRESS], &like->range, sizeof like->range, b);
    else
        HASH_FIND_STR(s->map[like->kind], like->name, b);
    return b;
}

static void drop(struct block_set *s, struct block *b)
{
    HASH_DEL(s->map[b->kind], b);
    s->count--;
    if (b->kind == BLOCK_ADDRESS)
        s->with_prefix[b->range.prefix]--;
    block_free(b);
}

void block_set_put(struct block_set *s, const struct block *from)
{
    block_set_remove(s, from);
    struct block *b = block_copy(from);
    s->count++;
    if (b->kind == BLOCK_ADDRESS) {
        s->with_prefix[b->range.prefix]++;
        HASH_ADD(hh, s->map[BLOCK_ADDRESS], range, sizeof b->range, b);
    } else {
        HASH_ADD_KEYPTR(hh, s->map[b->kind], b->name, strlen(b->name), b);
    }
}

void block_set_remove(struct block_set *s, const struct block *like)
{
    struct block *b = same(s, like);
    if (b != NULL)
        drop(s, b);
}

void block_set_free(struct block_set *s)
{
    if (s == NULL)
        return;
    struct block *b, *next;
    for (int k = 0; k < BLOCK_KINDS; k++)
        HASH_ITER(hh, s->map[k], b, next)
        {
            drop(s, b);
        }
    free(s);
}

static const struct block *find(const struct block_set *s, enum block_kind k, const char *name)
{
    struct block *b = NULL;
    if (s->map[k] != NULL && name != NULL && *name != '\0')
        HASH_FIND_STR(s->map[k], name, b);
    return b;
}

/* The narrowest that it is in, or that disconnects. */
static const struct block *find_address(const struct block_set *s, const char *peer)
{
    uint8_t address[16];
    const struct block *found = NULL;
    if (s->map[BLOCK_ADDRESS] == NULL || peer == NULL || !parse_peer(peer, address))
        return NULL;
    for (int prefix = BLOCK_ADDRESS_BITS; prefix >= 0; prefix--) {
        struct block_range r;
        struct block *b;
        if (s->with_prefix[prefix] == 0)
            continue;
        r = range_of(address, (unsigned)prefix);
        HASH_FIND(hh, s->map[BLOCK_ADDRESS], &r, sizeof r, b);
        if (b != NULL && b->disconnect)
            return b;
        if (found == NULL)
            found = b;
    }
    return found;
}

static const struct block *better(const struct block *a, const struct block *b)
{
    if (a == NULL || (b != NULL && b->disconnect && !a->disconnect))
        return b;
    return a;
}

const struct block *block_set_match_client(const struct block_set *s, const char *address,
                                           const char *role)
{
    if (s == NULL || s->count == 0)
        return NULL;
    return better(find_address(s, address), find(s, BLOCK_ROLE, role));
}

const struct block *block_set_match(const struct block_set *s, const struct block_subject *who)
{
    if (s == NULL || s->count == 0)
        return NULL;
    const struct topic_name *t = who->topic;
    const struct block *b = find(s, BLOCK_PRODUCER, who->producer);
    b = better(b, find(s, BLOCK_TOPIC, t->full));
    b = better(b, find(s, BLOCK_TOPIC, t->partitioned));
    b = better(b, find(s, BLOCK_NAMESPACE, t->ns));
    b = better(b, find(s, BLOCK_TENANT, t->tenant));
    return better(b, block_set_match_client(s, who->address, who->role));
}

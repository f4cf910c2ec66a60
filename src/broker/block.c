/* block.c - see block.h. A set is made anew for each change and shared by all workers: looking
 * somebody up takes no lock, one hash per kind, and nothing at all while there are no blocks. */
#include "broker/block.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "base/wall_time.h"

enum { ADDRESS_BITS = 128, MAPPED_BITS = 96 };

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

/* "10.0.0.0/8" */
static bool parse_range(struct block *b)
{
    char text[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(b->name, '/');
    size_t len = slash != NULL ? (size_t)(slash - b->name) : strlen(b->name);
    bool is_v4;
    if (len >= sizeof text)
        return false;
    memcpy(text, b->name, len);
    text[len] = '\0';
    if (!parse_ip(text, b->address, &is_v4))
        return false;
    b->prefix = ADDRESS_BITS;
    if (slash == NULL)
        return true;
    char *end;
    unsigned most = is_v4 ? 32 : ADDRESS_BITS;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > most)
        return false;
    b->prefix = (unsigned)bits + (is_v4 ? MAPPED_BITS : 0);
    return true;
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

static bool in_range(const struct block *b, const uint8_t address[16])
{
    unsigned whole = b->prefix / 8, rest = b->prefix % 8;
    if (memcmp(b->address, address, whole) != 0)
        return false;
    return rest == 0 || (b->address[whole] ^ address[whole]) >> (8 - rest) == 0;
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

/* Its name as it is looked up. False: none of that kind. */
static bool settle_name(struct block *b, const char *name)
{
    struct topic_name n;
    const char *why, *slash = strchr(name, '/');
    b->name = xstrdup(name);
    switch (b->kind) {
    case BLOCK_TOPIC:
        if (topic_name_parse(&n, name, &why) != TG_OK)
            return false;
        free(b->name);
        b->name = xstrdup(n.full);
        topic_name_fini(&n);
        return true;
    case BLOCK_NAMESPACE:
        if (slash == NULL || !name_is_valid(slash + 1))
            return false;
        b->name[slash - name] = '\0';
        bool ok = name_is_valid(b->name);
        b->name[slash - name] = '/';
        return ok;
    case BLOCK_TENANT:
        return name_is_valid(name);
    case BLOCK_ADDRESS:
        return parse_range(b);
    default:
        return *name != '\0' && name_is_valid_producer(name);
    }
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
    b->kind = (enum block_kind)k;
    if (settle_name(b, name))
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

/* Two of one kind and name are not both in a list: registry_blocks.c sees to it. */
struct block_set *block_set_new(const struct block *list)
{
    struct block_set *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->any = list != NULL;
    for (; list != NULL; list = list->next) {
        struct block *b = block_copy(list);
        if (b->kind == BLOCK_ADDRESS)
            DL_APPEND(s->addresses, b);
        else
            HASH_ADD_KEYPTR(hh, s->by_name[b->kind], b->name, strlen(b->name), b);
    }
    return s;
}

struct block_set *block_set_ref(struct block_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void block_set_unref(struct block_set *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    struct block *b, *next;
    for (int k = 0; k < BLOCK_KINDS; k++)
        HASH_ITER(hh, s->by_name[k], b, next)
        {
            HASH_DEL(s->by_name[k], b);
            block_free(b);
        }
    DL_FOREACH_SAFE(s->addresses, b, next)
    {
        block_free(b);
    }
    free(s);
}

static const struct block *find(const struct block_set *s, enum block_kind k, const char *name)
{
    struct block *b = NULL;
    if (s->by_name[k] != NULL && name != NULL && *name != '\0')
        HASH_FIND_STR(s->by_name[k], name, b);
    return b;
}

static const struct block *find_address(const struct block_set *s, const char *peer)
{
    uint8_t address[16];
    const struct block *found = NULL;
    if (s->addresses == NULL || peer == NULL || !parse_peer(peer, address))
        return NULL;
    for (const struct block *b = s->addresses; b != NULL; b = b->next)
        if (in_range(b, address) && (found == NULL || b->disconnect))
            found = b;
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
    if (s == NULL || !s->any)
        return NULL;
    return better(find_address(s, address), find(s, BLOCK_ROLE, role));
}

const struct block *block_set_match(const struct block_set *s, const struct block_subject *who)
{
    if (s == NULL || !s->any)
        return NULL;
    const struct topic_name *t = who->topic;
    const struct block *b = find(s, BLOCK_PRODUCER, who->producer);
    b = better(b, find(s, BLOCK_TOPIC, t->full));
    b = better(b, find(s, BLOCK_TOPIC, t->partitioned));
    b = better(b, find(s, BLOCK_NAMESPACE, t->ns));
    b = better(b, find(s, BLOCK_TENANT, t->tenant));
    return better(b, block_set_match_client(s, who->address, who->role));
}

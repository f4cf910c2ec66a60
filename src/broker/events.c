/* events.c - see events.h.
 *
 * Invariant: the ring holds the newest <count> events, at most <cap> and EVENTS_KEPT_BYTES of text;
 * their numbers follow on each other, and go on above all of an earlier start. */
#include "broker/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/line_file.h"
#include "base/mono.h"
#include "base/wall_time.h"
#include "broker/broker.h"

enum {
    NUMBER_BITS = 32, /* events of one start of the broker */
    BUFFER_EVENTS_APART_S = 60,
};

struct events {
    char **ring; /* JSON texts */
    size_t cap, first, count, bytes;
    uint64_t next; /* the number of the next one */
    uint64_t recorded;
    uint64_t dropped; /* by workers */
    struct line_file *file;
};

struct event_letter {
    struct letter letter; /* first */
    struct events *to;
    int64_t wall_ns;
    enum event_type type;
    uint32_t dropped; /* at its worker, before it */
    json_t *facts;
};

const char *event_type_name(enum event_type t)
{
    static const char *const name[] = {
        [EVENT_THROTTLING_BEGINS] = "throttling-begins",
        [EVENT_THROTTLING_ENDS] = "throttling-ends",
        [EVENT_LIMIT_CHANGED] = "limit-changed",
        [EVENT_BLOCKED] = "blocked",
        [EVENT_UNBLOCKED] = "unblocked",
        [EVENT_BUFFER_FULL] = "buffer-full",
        [EVENT_QUOTA_USAGE] = "quota-usage",
    };
    return name[t];
}

/* ---- the control worker: kept and written ---- */

static void forget_oldest(struct events *e)
{
    e->bytes -= strlen(e->ring[e->first]);
    free(e->ring[e->first]);
    e->first = (e->first + 1) % e->cap;
    e->count--;
}

static void keep(struct events *e, char *text)
{
    size_t len = strlen(text);
    while (e->count > 0 && (e->count == e->cap || e->bytes + len > EVENTS_KEPT_BYTES))
        forget_oldest(e);
    e->ring[(e->first + e->count++) % e->cap] = text;
    e->bytes += len;
}

static void record(struct events *e, const struct event_letter *l)
{
    char time[WALL_TIME_MAX];
    wall_time_format(l->wall_ns, time);
    json_t *j = json_pack("{s:I,s:s,s:s}", "number", (json_int_t)e->next, "time", time, "event",
                          event_type_name(l->type));
    json_object_update(j, l->facts);
    if (l->dropped > 0)
        json_object_set_new(j, "droppedBefore", json_integer(l->dropped));
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(j);
    TG_ASSERT(text != NULL); /* names were checked to be UTF-8 when they came in */
    e->next++;
    e->recorded++;
    e->dropped += l->dropped;
    line_file_add(e->file, text);
    keep(e, text);
}

/* Also when it is dropped: what ends because the broker stops is told, too. */
static void take(struct letter *letter)
{
    struct event_letter *l = (struct event_letter *)letter;
    record(l->to, l);
    json_decref(l->facts);
    free(l);
}

static void on_event(struct letter *l, struct shard *at)
{
    (void)at;
    take(l);
}

/* ---- any worker ---- */

void event_post(struct shard *s, enum event_type t, json_t *facts)
{
    struct shard *control = shard_control(s);
    uint32_t dropped;
    if (!s->broker->events || /* in tests of parts of a broker */
        !log_gate_open(&s->event_gate, EVENTS_PER_SECOND, shard_now_ns(s), &dropped)) {
        json_decref(facts);
        return;
    }
    struct event_letter *l = xcalloc(1, sizeof *l);
    l->to = s->broker->events;
    l->wall_ns = shard_wall_ns(s);
    l->type = t;
    l->dropped = dropped;
    l->facts = facts;
    if (s == control)
        take(&l->letter);
    else
        letter_post(s, control, &l->letter, on_event, take);
}

void event_buffer_full(struct shard *s, enum event_buffer what)
{
    static const char *const name[] = {[BUFFER_PARKED] = "parked frames",
                                       [BUFFER_PUBLISH] = "publish buffer",
                                       [BUFFER_RECEIVE] = "partly received frames",
                                       [BUFFER_OUTBOUND] = "outbound",
                                       [BUFFER_STORAGE] = "storage"};
    int64_t now_ns = shard_now_ns(s), *next_ns = &s->buffer_event_ns[what];
    if (now_ns < *next_ns)
        return;
    *next_ns = now_ns + BUFFER_EVENTS_APART_S * MONO_S;
    event_post(s, EVENT_BUFFER_FULL,
               json_pack("{s:s,s:i}", "buffer", name[what], "worker", s->index));
}

static json_t *dimension(int64_t v)
{
    return v > 0 ? json_integer(v) : json_null();
}

json_t *limit_spec_json(const struct tg_limit_spec *s)
{
    if (!tg_limit_spec_is_set(s))
        return json_null();
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:I}", "rateInMsg", dimension(s->msgs.rate),
                     "rateInByte", dimension(s->bytes.rate), "burstInMsg", dimension(s->msgs.burst),
                     "burstInByte", dimension(s->bytes.burst), "peakInMsg", dimension(s->msgs.peak),
                     "peakInByte", dimension(s->bytes.peak), "periodMs",
                     (json_int_t)(tg_limit_period_ns(s) / MONO_MS));
}

/* ---- life ---- */

enum tg_err events_open(struct broker *b, char **why)
{
    const struct settings *set = b->settings;
    char *path = xasprintf("%s/events.jsonl", set->data_dir);
    struct events *e = xcalloc(1, sizeof *e);
    enum tg_err err = line_file_open(&e->file, path, (uint64_t)set->event_file_bytes, why);
    free(path);
    if (err) {
        free(e);
        return err;
    }
    e->cap = (size_t)set->events_kept;
    e->ring = xcalloc(e->cap, sizeof *e->ring);
    b->events = e;
    return TG_OK;
}

void events_number_from(struct events *e, uint64_t instance)
{
    e->next = (instance << NUMBER_BITS) + 1;
}

void events_close(struct events *e)
{
    if (!e)
        return;
    while (e->count > 0)
        forget_oldest(e);
    line_file_close(e->file);
    free(e->ring);
    free(e);
}

/* ---- reading ---- */

void events_since(const struct events *e, uint64_t since, size_t most, struct bytes *out)
{
    uint64_t oldest = e->next - e->count;
    size_t skip = since >= oldest ? (size_t)(since - oldest + 1) : 0, n = 0;
    bool missed = since > 0 && since + 1 < oldest && e->recorded > e->count;
    bytes_printf(out, "{\"events\":[");
    for (size_t i = skip; i < e->count && n < most; i++, n++) {
        const char *text = e->ring[(e->first + i) % e->cap];
        bytes_append(out, ",", n > 0);
        bytes_append(out, text, strlen(text));
    }
    uint64_t last = n > 0 ? oldest + skip + n - 1 : since;
    bytes_printf(out, "],\"next\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"missed\":%s}", last,
                 e->dropped + line_file_dropped(e->file), missed ? "true" : "false");
}

uint64_t events_dropped(struct events *e)
{
    return e->dropped + line_file_dropped(e->file);
}

uint64_t events_recorded(const struct events *e)
{
    return e->recorded;
}

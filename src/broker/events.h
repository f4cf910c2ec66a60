/* events.h - what an operator may want to have been told: throttling begins and ends, limits
 * change, somebody is blocked, memory is used up, a quota's use passes 80 % and 100 %.
 *
 * Any worker posts an event; it goes by letter to the control worker, which numbers it, keeps the
 * newest in memory, and has them written to events.jsonl in the data directory. All of it is
 * bounded: what is too much is dropped, counted, and said in the next event. Posting costs a
 * worker some microseconds, so it is not for what happens per message. */
#ifndef BROKER_EVENTS_H
#define BROKER_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct broker;
struct events;
struct shard;
struct tg_limit_spec;

enum event_type {
    EVENT_THROTTLING_BEGINS,
    EVENT_THROTTLING_ENDS,
    EVENT_LIMIT_CHANGED,
    EVENT_BLOCKED,
    EVENT_UNBLOCKED,
    EVENT_BUFFER_FULL,
    EVENT_QUOTA_USAGE,
};
const char *event_type_name(enum event_type t); /* "throttling-begins", ... */

enum {
    EVENTS_PER_SECOND = 200,     /* of one worker */
    EVENTS_KEPT_BYTES = 4 << 20, /* in memory */
    EVENTS_ANSWERED = 1000,      /* at a time */
};

/* Takes <facts>, an object. On <s>'s worker. */
void event_post(struct shard *s, enum event_type t, json_t *facts);
/* Memory for <what> is used up: at most one event a minute and worker for each. */
enum event_buffer {
    BUFFER_PARKED,
    BUFFER_PUBLISH,
    BUFFER_RECEIVE,
    BUFFER_OUTBOUND,
    BUFFER_STORAGE,
    EVENT_BUFFERS
};
void event_buffer_full(struct shard *s, enum event_buffer what);

/* A limit as events and `limits` show it; null when it is unset. */
json_t *limit_spec_json(const struct tg_limit_spec *spec);

/* ---- the control worker ---- */

TG_MUSTCHECK enum tg_err events_open(struct broker *b, char **why);
/* Before the first: numbers are made from it, so that they grow over restarts. */
void events_number_from(struct events *e, uint64_t instance);
/* The workers have ended. NULL is fine. */
void events_close(struct events *e);
/* {"events":[...],"next":N,"dropped":N,"missed":bool}: those numbered above <since>, oldest first,
 * at most <most>; "next" is what to ask for next, "missed": some that were above it are not kept
 * any more. */
void events_since(const struct events *e, uint64_t since, size_t most, struct bytes *out);
uint64_t events_dropped(struct events *e);
uint64_t events_recorded(const struct events *e);

#endif

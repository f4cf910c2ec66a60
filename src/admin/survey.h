/* survey.h - requests that all topics or connections of all workers are looked at for, and whose
 * answer is long: metrics, statistics of everything. One of a kind is made at a time, and everybody
 * who asks meanwhile is answered by the next one, with one text: a thousand who ask at once cost no
 * more than two, and those who don't read their answer share it. */
#ifndef ADMIN_SURVEY_H
#define ADMIN_SURVEY_H

#include <jansson.h>

#include "broker/walk.h"
#include "net/worker.h"

struct admin;
struct bytes;
struct call;

enum survey_id { SURVEY_METRICS, SURVEY_TOPIC_STATS, SURVEY_CLIENTS, SURVEY_LIMITS, SURVEYS };

/* How one kind of it is made. */
struct survey_kind {
    enum survey_id id;
    const char *content_type;
    uint32_t per_turn; /* of whatever is shown */
    /* As walk_ops': adds it to part->data. NULL: none of these. */
    void (*show)(struct walk_part *part, struct topic *t);
    void (*show_conn)(struct walk_part *part, struct conn *c);
    void (*show_producer)(struct walk_part *part, struct producer *p);
    void (*show_consumer)(struct walk_part *part, struct consumer *k);
    void (*drop)(void *part_data); /* the walk was lost; not called with NULL */
    /* On the control worker: takes what the parts have, and what else is wanted from there. */
    void *(*gather)(struct broker *b, struct walk *w);
    /* On the writer's thread: puts it together, makes the text, and frees <gathered>. */
    void (*write)(struct broker *b, void *gathered, struct bytes *out);
};

struct survey {       /* private to survey.c; the control worker's */
    struct mail mail; /* first: the writer is done */
    struct admin *admin;
    const struct survey_kind *kind; /* of the one that is being made; NULL: none is */
    struct call *asking, *answering;
};

/* For those whose parts are JSON: <gathered> is the array of them; what drops one; and, for any,
 * the text of the answer, which is taken. */
void *survey_gather_json(struct broker *b, struct walk *w);
void survey_drop_json(void *part_data);
void survey_write_json(json_t *answer, struct bytes *out);

/* Handles the request. */
void survey_ask(struct call *c, const struct survey_kind *kind);
/* The workers and the writer have ended: who still asks gets an error. Main thread. */
void surveys_abandon(struct admin *a);

#endif

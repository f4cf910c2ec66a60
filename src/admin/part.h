/* part.h - a request's work on topics, done where each lives: one part per topic, and one answer
 * when all have ended. All begins and ends on the control worker; only the part's function runs on
 * the topic's. */
#ifndef ADMIN_PART_H
#define ADMIN_PART_H

#include "admin/call.h"
#include "broker/place.h"
#include "broker/topic.h"

struct part {
    struct visit visit; /* first */
    struct call *call;
    void (*run)(struct part *p, struct topic *t);
    json_t *result; /* run may set it: it is in call->results, under the topic's name, at the end */
    char *topic;
};

/* On the topic's worker. Ends with part_end, at once or in a callback there. <p->call> may be read:
 * nobody changes it meanwhile. */
typedef void (*part_run)(struct part *p, struct topic *t);
void part_end(struct part *p, enum tg_err e);

/* ---- on the control worker ---- */

/* The topic of the path. Answers 404 when it is not there. <all_done> is called once with the first
 * error, TG_ECLOSED when the broker stops. */
void part_on_topic(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e));
/* The topic c->topic, or each partition of it that is there. False, and nothing done: neither. */
bool part_on_each(struct call *c, part_run run, void (*all_done)(struct call *c, enum tg_err e));
/* What is long is done some a turn, so that nobody's messages wait for all of it: <go_on> is called
 * on the control worker in a later turn, not before <wait_ns>. <lost>: the broker stops, there are
 * no more turns. */
void call_go_on_later(struct call *c, int64_t wait_ns, void (*go_on)(struct call *c, bool lost));
/* The only result; takes it out of the call. */
json_t *part_result(struct call *c);
/* The workers have ended, and all that was begun with them: what was still to be begun is not. Main
 * thread. */
void parts_abandon(struct admin *a);

#endif

/* opening.c - see opening.h.
 *
 * The way: front's worker -> control worker (place_open) -> front's worker -> the worker where the
 * topic lives. What was found may be gone by then: the handler there says so, and the client tries
 * again. */
#include "broker/opening.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "broker/link.h"
#include "broker/topic.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

/* ---- the list ---- */

static uint32_t *count_of(struct front *f, enum id_kind kind)
{
    return kind == ID_PRODUCER ? &f->opening_producers : &f->opening_consumers;
}

static struct opening *find(const struct front *f, enum id_kind kind, uint64_t id)
{
    struct opening *o;
    DL_FOREACH(f->openings, o)
    {
        if (o->kind == kind && o->id == id)
            return o;
    }
    return NULL;
}

static void leave(struct front *f, struct opening *o)
{
    DL_DELETE(f->openings, o);
    --*count_of(f, o->kind);
}

bool opening_exists(const struct front *f, enum id_kind kind, uint64_t id)
{
    return find(f, kind, id) != NULL;
}

bool opening_cancel(struct front *f, enum id_kind kind, uint64_t id)
{
    struct opening *o = find(f, kind, id);
    if (!o)
        return false;
    leave(f, o);
    o->given_up = true;
    return true;
}

void openings_drop_all(struct front *f)
{
    while (f->openings)
        (void)opening_cancel(f, f->openings->kind, f->openings->id);
}

/* ---- the answer, on the front's worker ---- */

static void opening_free(struct opening *o)
{
    topic_name_fini(&o->name);
    free(o);
}

static Pulsar__Proto__ServerError code_of(enum tg_err e)
{
    switch (e) {
    case TG_ENOENT:
        return E(TopicNotFound);
    case TG_ELIMIT:
        return E(NotAllowedError);
    case TG_EIO:
    case TG_ENOSPC:
        return E(MetadataError);
    default:
        return E(ServiceNotReady); /* "try again" */
    }
}

static void refuse(struct conn *c, const struct opening *o)
{
    switch (o->answer.result) {
    case PLACE_IS_PARTITIONED:
        conn_send_error(c, o->request_id, E(NotAllowedError),
                        "%s is a partitioned topic: %s its partitions", o->name.full,
                        o->kind == ID_PRODUCER ? "produce to" : "subscribe to");
        break;
    case PLACE_NOT_THERE:
        conn_send_error(c, o->request_id, E(TopicNotFound), "Topic %s does not exist",
                        o->name.full);
        break;
    default:
        conn_send_error(c, o->request_id, code_of(o->answer.err), "the topic can't be opened: %s",
                        err_text(o->answer.err));
    }
}

static void handle(struct front *f, enum id_kind kind, uint64_t id, struct shard *at,
                   const uint8_t *bytes, size_t len)
{
    struct frame frame;
    size_t need;
    const char *why;
    enum frame_status r = frame_parse(bytes, len, len, &frame, &need, &why);
    TG_ASSERT(r == FRAME_OK); /* it was one when it came */
    bool is_here = at == f->conn.shard;
    route_set(f, kind, id, at, is_here ? 0 : link_forward_open(f, at, &frame));
    if (is_here)
        conn_handle_frame(&f->conn, &frame);
}

static void finish(struct opening *o)
{
    struct conn *c = o->given_up ? NULL : conn_find(o->from, o->conn_id);
    if (c) {
        leave(c->front, o);
        if (o->answer.result == PLACE_FOUND) {
            handle(c->front, o->kind, o->id, o->answer.at, o->frame, o->frame_len);
        } else {
            refuse(c, o);
        }
    }
    opening_free(o);
}

static void on_answer(struct letter *l, struct shard *at)
{
    (void)at;
    finish((struct opening *)l);
}

/* ---- the question, on the control worker ---- */

static void drop_answer(struct letter *l)
{
    opening_free((struct opening *)l); /* the front's worker has ended, and the front with it */
}

static void on_placed(void *ctx, struct place_answer a)
{
    struct opening *o = ctx;
    struct shard *control = &o->from->broker->shard[0];
    o->answer = a;
    if (o->from == control)
        finish(o);
    else
        letter_post(control, o->from, &o->letter, on_answer, drop_answer);
}

static void on_question(struct letter *l, struct shard *at)
{
    struct opening *o = (struct opening *)l;
    place_open(at->broker->registry, &o->name, o->may_make, o->from, on_placed, o);
}

static void drop_question(struct letter *l)
{
    struct opening *o = (struct opening *)l;
    struct conn *c = o->given_up ? NULL : conn_find(o->from, o->conn_id);
    if (c)
        leave(c->front, o);
    opening_free(o);
}

void opening_begin(struct front *f, enum id_kind kind, uint64_t id, uint64_t request_id,
                   struct topic_name *name, bool may_make, const struct frame *frame)
{
    struct shard *s = f->conn.shard, *control = &s->broker->shard[0];
    struct topic *t = topic_find(s, name->full);
    if (t && t->state == TOPIC_READY && !t->is_unused) {
        topic_name_fini(name);
        handle(f, kind, id, s, frame_start(frame), frame->frame_len);
        return;
    }
    struct opening *o = xcalloc(1, sizeof *o + frame->frame_len);
    o->from = s;
    o->conn_id = f->conn.id;
    o->kind = kind;
    o->id = id;
    o->request_id = request_id;
    o->name = *name;
    o->may_make = may_make;
    o->frame_len = frame->frame_len;
    memcpy(o->frame, frame_start(frame), frame->frame_len);
    DL_APPEND(f->openings, o);
    ++*count_of(f, kind);
    if (s == control)
        place_open(s->broker->registry, &o->name, may_make, s, on_placed, o);
    else
        letter_post(s, control, &o->letter, on_question, drop_question);
}

/* survey.c - see survey.h. A survey is a walk over the topics, then the writer's work, then mail
 * that it is done: only then does the next one begin.
 *
 * Invariant: while one is being made <kind> is set, the admin is held, and those whom it is for are
 * in <answering> until the writer has them; who comes meanwhile is in <asking>. */
#include "admin/survey.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/http.h"
#include "base/alloc.h"

enum { FULL_BOX_WAIT_US = 1000 }; /* the writer has time */

static void begin(struct survey *s, struct admin *a, const struct survey_kind *kind);

static void give_up(struct call **calls)
{
    struct call *c = *calls;
    *calls = NULL;
    for (struct call *next; c != NULL; c = next) {
        next = c->next_asking;
        reply_err(c, TG_ECLOSED);
    }
}

/* ---- parts that are JSON ---- */

void *survey_gather_json(struct broker *b, struct walk *w)
{
    json_t *parts = json_array();
    (void)b;
    for (int i = 0; i < w->parts; i++)
        if (w->part[i].data != NULL)
            json_array_append_new(parts, w->part[i].data);
    return parts;
}

void survey_drop_json(void *part_data)
{
    json_decref(part_data);
}

void survey_write_json(json_t *answer, struct bytes *out)
{
    char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(15));
    TG_ASSERT(text != NULL);
    json_decref(answer);
    bytes_append(out, text, strlen(text));
    free(text);
}

/* ---- the text, on the writer's thread ---- */

struct report {
    struct writing writing; /* first */
    struct survey *survey;
    void *gathered;
    struct call *calls; /* by next_asking */
};

static void answer_all(struct call *calls, struct shared_text *text)
{
    for (struct call *c = calls, *next; c != NULL; c = next) {
        next = c->next_asking;
        reply_shared(c, text);
    }
}

static void on_written(struct mail *m, struct worker *w)
{
    struct survey *s = (struct survey *)m;
    struct admin *a = s->admin;
    const struct survey_kind *kind = s->kind;
    (void)w;
    s->kind = NULL;
    if (s->asking != NULL)
        begin(s, a, kind);
    admin_unref(a);
}

static void tell_control(struct survey *s)
{
    struct worker *control = s->admin->broker->shard[0].worker;
    enum tg_err e;
    while ((e = worker_post(control, &s->mail)) == TG_EBUSY)
        usleep(FULL_BOX_WAIT_US);
    if (e != TG_OK)
        admin_unref(s->admin); /* the broker stops: see surveys_abandon */
}

static void write_report(struct writing *w)
{
    struct report r = *(struct report *)w;
    const struct survey_kind *kind = r.survey->kind;
    struct broker *b = r.survey->admin->broker;
    struct bytes out = {0};
    free(w);
    kind->write(b, r.gathered, &out);
    struct shared_text *text = shared_text_new(&b->budget, kind->content_type, &out);
    answer_all(r.calls, text);
    shared_text_unref(text);
    tell_control(r.survey);
}

/* ---- the walk ---- */

static void drop_all(const struct survey_kind *kind, struct walk *w)
{
    for (int i = 0; i < w->parts; i++)
        if (w->part[i].data != NULL)
            kind->drop(w->part[i].data);
}

static void post_report(struct survey *s, struct walk *w)
{
    struct report *r = xcalloc(1, sizeof *r);
    r->writing.run = write_report;
    r->survey = s;
    r->gathered = s->kind->gather(s->admin->broker, w);
    r->calls = s->answering;
    s->answering = NULL;
    writer_post(&s->admin->writer, &r->writing);
}

static void on_shown(struct walk *w)
{
    struct survey *s = w->ctx;
    if (!w->lost) {
        post_report(s, w);
        return;
    }
    drop_all(s->kind, w);
    give_up(&s->answering);
    give_up(&s->asking);
    s->kind = NULL;
    admin_unref(s->admin);
}

static void begin(struct survey *s, struct admin *a, const struct survey_kind *kind)
{
    admin_ref(a);
    s->admin = a;
    s->kind = kind;
    s->mail.deliver = on_written;
    s->answering = s->asking;
    s->asking = NULL;
    struct walk_ops ops = {.per_turn = kind->per_turn,
                           .show = kind->show,
                           .show_conn = kind->show_conn,
                           .show_producer = kind->show_producer,
                           .show_consumer = kind->show_consumer,
                           .done = on_shown};
    walk_begin(a->broker, &ops, s);
}

void survey_ask(struct call *c, const struct survey_kind *kind)
{
    struct survey *s = &c->admin->survey[kind->id];
    c->next_asking = s->asking;
    s->asking = c;
    if (s->kind == NULL)
        begin(s, c->admin, kind);
}

void surveys_abandon(struct admin *a)
{
    for (int i = 0; i < SURVEYS; i++)
        give_up(&a->survey[i].asking);
}

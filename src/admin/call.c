/* call.c - what handlers use of a request, and how they answer. */
#include "admin/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/http.h"
#include "base/alloc.h"

struct call *call_new(struct admin *a, struct broker *b, const char *target)
{
    struct call *c = xcalloc(1, sizeof *c);
    c->refs = 1;
    c->admin = a;
    c->broker = b;
    c->topic.partition = -1;
    c->uri_error = uri_parse(&c->uri, target);
    return c;
}

void call_unref(struct call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    budget_give(&c->broker->budget, BUDGET_HTTP, c->charged_bytes);
    uri_fini(&c->uri);
    bytes_fini(&c->body);
    topic_name_fini(&c->topic);
    json_decref(c->results);
    json_decref(c->parsed);
    free(c->handler_own);
    answer_fini(&c->answer);
    free(c);
}

/* ---- the request ---- */

const char *call_capture(const struct call *c, enum capture which)
{
    TG_ASSERT(c->match.capture[which] != NULL); /* the route has it */
    return c->match.capture[which];
}

int64_t call_number(const struct call *c)
{
    return strtoll(call_capture(c, CAP_NUMBER), NULL, 10); /* checked by the route */
}

bool call_flag(const struct call *c, const char *arg)
{
    const char *v = uri_arg(&c->uri, arg);
    return v != NULL && strcasecmp(v, "true") == 0;
}

bool call_json(struct call *c, json_t **out)
{
    *out = NULL;
    if (c->body.len == 0) {
        *out = json_null();
        return true;
    }
    json_error_t problem;
    *out = json_loadb((const char *)c->body.data, c->body.len,
                      JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &problem);
    if (*out == NULL)
        reply_reason(c, 400, "the body is not JSON: line %d, column %d: %s", problem.line,
                     problem.column, problem.text);
    return *out != NULL;
}

/* ---- the answer ---- */

void answer_fini(struct answer *a)
{
    free(a->text);
    shared_text_unref(a->shared);
    *a = (struct answer){0};
}

static struct answer answer_json(int status, json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(j);
    TG_ASSERT(text != NULL); /* all strings were checked to be UTF-8 when they came in */
    return (struct answer){
        .status = status, .content_type = "application/json", .text = text, .len = strlen(text)};
}

static struct answer answer_reason_text(int status, const char *text)
{
    json_t *reason = json_string(text);
    if (reason == NULL) /* it quotes something that is not UTF-8 */
        reason = json_string("the request is not UTF-8");
    return answer_json(status, json_pack("{s:o}", "reason", reason));
}

TG_PRINTF(1, 0) static char *format(const char *fmt, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    TG_ASSERT(n >= 0);
    return text;
}

struct answer answer_reason(int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = format(fmt, args);
    va_end(args);
    struct answer a = answer_reason_text(status, text);
    free(text);
    return a;
}

void reply_status(struct call *c, int status)
{
    call_complete(c, (struct answer){.status = status});
}

struct made {               /* an answer that the writer makes */
    struct writing writing; /* first */
    struct call *call;
    int status;
    json_t *json; /* or: */
    json_t *(*make)(struct call *c);
};

static void make_answer(struct writing *w)
{
    struct made m = *(struct made *)w;
    struct call *c = m.call;
    free(w);
    struct answer a = answer_json(m.status, m.make != NULL ? m.make(c) : m.json);
    json_decref(c->results); /* it takes its time, too */
    c->results = NULL;
    call_complete(c, a);
}

static void have_written(struct call *c, int status, json_t *j, json_t *(*make)(struct call *c))
{
    struct made *m = xmalloc(sizeof *m);
    *m = (struct made){
        .writing.run = make_answer, .call = c, .status = status, .json = j, .make = make};
    writer_post(&c->admin->writer, &m->writing);
}

void reply_made(struct call *c, json_t *(*make)(struct call *c))
{
    have_written(c, 200, NULL, make);
}

void reply_json(struct call *c, int status, json_t *j)
{
    if (c->match.route->cost == ROUTE_SHORT)
        call_complete(c, answer_json(status, j));
    else
        have_written(c, status, j, NULL);
}

void reply_text(struct call *c, const char *content_type, struct bytes *b)
{
    struct answer a = {
        .status = 200, .content_type = content_type, .text = (char *)b->data, .len = b->len};
    *b = (struct bytes){0};
    call_complete(c, a);
}

void reply_shared(struct call *c, struct shared_text *text)
{
    atomic_fetch_add(&text->refs, 1);
    call_complete(c, (struct answer){.status = 200, .shared = text});
}

struct shared_text *shared_text_new(struct budget *b, const char *content_type, struct bytes *text)
{
    struct shared_text *t = xmalloc(sizeof *t);
    *t = (struct shared_text){.refs = 1, .budget = b, .len = text->len};
    t->response = MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_FREE);
    TG_ASSERT(t->response != NULL); /* as with malloc */
    *text = (struct bytes){0};
    MHD_add_response_header(t->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    budget_force(b, BUDGET_HTTP, (int64_t)t->len);
    return t;
}

void shared_text_unref(struct shared_text *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    budget_give(t->budget, BUDGET_HTTP, (int64_t)t->len);
    MHD_destroy_response(t->response);
    free(t);
}

void reply_reason(struct call *c, int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = format(fmt, args);
    va_end(args);
    struct answer a = answer_reason_text(status, text);
    free(text);
    call_complete(c, a);
}

static int status_of(enum tg_err e)
{
    switch (e) {
    case TG_EINVAL:
        return 400;
    case TG_ENOENT:
        return 404;
    case TG_EEXIST:
    case TG_ECONFLICT:
        return 409;
    case TG_ERANGE:
    case TG_ELIMIT:
        return 412;
    case TG_EBUSY:
    case TG_ECLOSED:
        return 503;
    case TG_ENOSPC:
        return 507;
    case TG_EUNSUPPORTED:
        return 405;
    default:
        return 500;
    }
}

void reply_err(struct call *c, enum tg_err e)
{
    if (e == TG_OK)
        reply_status(c, 204);
    else
        reply_reason(c, status_of(e), "%s", err_text(e));
}

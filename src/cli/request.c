/* request.c - one HTTP request to --admin-url over libcurl, and what its status means.
 *
 * 2xx: the answer goes to stdout. 4xx and 5xx: the broker's own reason goes to stderr, exit code
 * CLI_REFUSED. No answer at all: CLI_UNREACHABLE. */
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/url.h"

enum {
    CONNECT_TIMEOUT_S = 10,
    ANSWER_TIMEOUT_S = 120,               /* deleting a topic with many partitions takes a while */
    ANSWER_MAX_BYTES = 256 * 1024 * 1024, /* statistics of a million topics, and no more */
    REDIRECTS_MAX = 5,
};

void complain(const struct call *c, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *group = c->command->group;
    fprintf(stderr, "tidegate: %s%s%s: %s\n", group ? group : "", group ? " " : "",
            c->command->name, text);
}

static size_t on_answer(char *p, size_t size, size_t count, void *ctx)
{
    struct bytes *answer = ctx;
    size_t n = size * count;
    if (n > ANSWER_MAX_BYTES - answer->len)
        return 0; /* libcurl ends the transfer with an error */
    bytes_append(answer, p, n);
    return n;
}

struct exchange {
    const char *method, *url, *body;
    struct bytes answer;
    long status;
};

/* NULL, or what went wrong. */
static const char *exchange_run(struct exchange *x)
{
    CURL *h = curl_easy_init();
    if (!h)
        return "libcurl can't be used";
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:"); /* no round trip before a body */
    curl_easy_setopt(h, CURLOPT_URL, x->url);
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, x->method);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    if (strcmp(x->method, "GET") != 0)
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, x->body ? x->body : "");
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, &x->answer);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)ANSWER_TIMEOUT_S);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    CURLcode code = curl_easy_perform(h);
    if (code == CURLE_OK)
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &x->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    bytes_append(&x->answer, "", 1);
    return code == CURLE_OK ? NULL : curl_easy_strerror(code);
}

static void complain_of_status(const struct call *c, const struct exchange *x)
{
    const char *text = (const char *)x->answer.data;
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    const char *reason = json_string_value(json_object_get(j, "reason"));
    complain(c, "%s (HTTP %ld)",
             reason  ? reason
             : *text ? text
                     : "refused without a reason",
             x->status);
    json_decref(j);
}

/* http://host:port/ + admin/v2 + /path */
static char *full_url(const char *admin_url, const char *path)
{
    int len = (int)strlen(admin_url);
    while (len > 0 && admin_url[len - 1] == '/')
        len--;
    return xasprintf("%.*s/admin/v2%s", len, admin_url, path);
}

int request_send(const struct call *c, const char *method, const char *path, const json_t *body,
                 char **reply)
{
    char *url = full_url(c->admin_url, path);
    char *text = body ? json_dumps(body, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    struct exchange x = {.method = method, .url = url, .body = text};
    const char *problem = exchange_run(&x);
    int code = CLI_OK;
    if (problem) {
        complain(c,
                 "no answer from %s: %s (--admin-url or TIDEGATE_ADMIN_URL say where the broker "
                 "is)",
                 c->admin_url, problem);
        code = CLI_UNREACHABLE;
    } else if (x.status >= 300) {
        complain_of_status(c, &x);
        code = CLI_REFUSED;
    } else if (reply) {
        *reply = xstrdup((const char *)x.answer.data);
    } else {
        code = output_print(c, (const char *)x.answer.data);
    }
    bytes_fini(&x.answer);
    free(text);
    free(url);
    return code;
}

int request_show(const struct call *c, const char *path,
                 enum tg_err (*print)(const json_t *answer, void *file))
{
    char *reply = NULL;
    int code = request_send(c, "GET", path, NULL, &reply);
    if (code != CLI_OK)
        return code;
    json_t *answer = c->raw_json ? NULL : json_loads(reply, 0, NULL);
    if (c->raw_json) {
        puts(reply);
    } else if (print(answer, stdout) != TG_OK) {
        complain(c, "the answer is not understood: %.200s", reply);
        code = CLI_FAILED;
    }
    json_decref(answer);
    free(reply);
    return code;
}

int request_run(struct call *c)
{
    char *path = NULL, *why = NULL;
    json_t *body = NULL;
    const struct command *row = c->command;
    bool with = row->with && args_has(&c->args, row->with);
    enum tg_err e = url_path(c, with ? row->path_with : row->path, &path, &why);
    if (e == TG_OK && c->command->body)
        e = c->command->body(c, &body, &why);
    int code = CLI_USAGE;
    if (e != TG_OK)
        complain(c, "%s", why);
    else
        code = request_send(c, c->command->method, path, body, NULL);
    json_decref(body);
    free(path);
    free(why);
    return code;
}

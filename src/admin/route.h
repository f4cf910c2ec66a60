/* route.h - which handler serves a method and a path. Pure: no I/O.
 *
 * A pattern is literals and captures: "/admin/v2/{domain}/{tenant}/{ns}/{topic}/stats". A capture
 * takes one segment; {domain} takes only "persistent" and "non-persistent", {number} only a whole
 * number. The first route of the table whose pattern and method fit is taken, so literals stand
 * before captures. */
#ifndef ADMIN_ROUTE_H
#define ADMIN_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "admin/uri.h"

struct call;

enum http_method { HTTP_GET, HTTP_PUT, HTTP_POST, HTTP_DELETE, HTTP_METHODS };
const char *http_method_name(enum http_method m);
/* HEAD is GET; HTTP_METHODS for what is not served at all. */
enum http_method http_method_parse(const char *word);

enum capture {
    CAP_DOMAIN,
    CAP_TENANT,
    CAP_NS,
    CAP_TOPIC,
    CAP_SUB,
    CAP_NUMBER,
    CAP_NAME,
    CAP_VALUE,
    CAP_COUNT
};

enum route_cost {
    ROUTE_SHORT,
    ROUTE_LONG,   /* grows with what there is: few are carried out at once */
    ROUTE_SURVEY, /* so does its answer, but many share one (survey.h) */
};

struct route {
    enum http_method method;
    enum route_cost cost;
    const char *pattern;
    void (*handle)(struct call *c);
    const char *doc; /* one line for docs/admin-api.md */
};

struct route_match {
    const struct route *route;      /* NULL: none */
    const char *capture[CAP_COUNT]; /* point into the uri */
    unsigned allowed;               /* bit per method that this path has; 0: no such path */
};

void route_match(struct route_match *out, const struct route *table, size_t count,
                 enum http_method method, const struct uri *u);

/* The table (routes.c), ended by a row without pattern. */
extern const struct route routes[];
size_t routes_count(void);

#endif

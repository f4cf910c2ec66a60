/* limit_rows.h - what `limits` shows: facts about every scope that has a limit or has made somebody
 * wait, a row for each side: of what is published there, of what is delivered. Each worker collects
 * those of its topics and what is parked there, the control worker adds the quotas; they hold
 * copies only, so JSON can be made of them on any thread. */
#ifndef ADMIN_LIMIT_ROWS_H
#define ADMIN_LIMIT_ROWS_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/map.h"
#include "broker/topic.h"
#include "quota/explain.h"
#include "quota/waits.h"

struct quotas;

enum { LIMIT_TOPICS_SHOWN = 2000 }; /* per worker, each some 1000 bytes of JSON */

/* What is set on the scopes directly below one, added up. Per second. */
struct limit_children {
    uint64_t count;
    uint64_t limited_msgs, limited_bytes; /* so many of them have that limit */
    double msgs, bytes;                   /* the sums of these */
};

struct limit_row {
    UT_hash_handle hh; /* by key */
    char *key;         /* side, kind and name */
    enum limit_side side;
    enum scope_kind kind;
    char *name, *parent; /* its key, NULL: it has none */
    bool is_shown;       /* <scope> and what follows are filled in */
    struct explain_scope scope;
    struct waits_view waits;
    uint32_t waiting_topics; /* of a quota */
    int64_t longest_ns;
    /* from all workers, added up */
    uint64_t parked_msgs, parked_bytes;
    struct limit_children children;
    uint64_t topics_not_shown;
};

struct limit_rows {
    struct limit_row *row; /* map */
    uint32_t topics_shown;
};

struct limit_rows *limit_rows_new(void);
void limit_rows_free(struct limit_rows *r); /* NULL is fine */
/* On the topic's worker. <always>: also when it has no limit of its own and nobody has waited. */
void limit_rows_add(struct limit_rows *r, struct topic *t, bool always);
/* On the control worker. */
void limit_rows_add_quotas(struct limit_rows *r, const struct quotas *q, int64_t now_ns);
/* Takes all of <from> into <into>. */
void limit_rows_merge(struct limit_rows *into, struct limit_rows *from);
/* NULL: there is none. */
struct limit_row *limit_rows_find(struct limit_rows *r, enum limit_side side, enum scope_kind kind,
                                  const char *name);

/* ---- limits_metrics.c ---- */

/* tidegate_limit_...: those of quotas, and of topics with a policy of their own or that somebody
 * has waited for; at most <most> of them, the widest first. */
void metrics_put_limits(const char *cluster, struct bytes *out, struct limit_rows *r, size_t most);

/* ---- limits_json.c ---- */

/* One scope: its limit as explain shows it, who waits, what it has cost, what is set below it. */
json_t *limit_row_json(const struct limit_row *row);
/* All of them, each with those below it under "below"; what is in no other is in the list. */
json_t *limit_rows_tree(struct limit_rows *r);

#endif

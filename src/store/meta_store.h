/* meta_store.h - small facts with versions: tenants, namespaces, topics, policies, cursors.
 *
 * Keys are paths ("namespace/public/default"), values are JSON text. Everything is asynchronous: a
 * port per worker, as with ledger_store.h, results through ms_port_poll on the owner. All
 * operations waiting when the store turns to them go into one transaction, and are answered after
 * it is durable. Operations of one port are carried out in order. */
#ifndef STORE_META_STORE_H
#define STORE_META_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct meta_store;
struct ms_port;

#define MS_ANY    INT64_C(-1) /* whatever version is there, or none */
#define MS_ABSENT INT64_C(0)  /* must not be there */

/* <e>: TG_OK; TG_ECONFLICT (the expected version is not there); TG_ENOENT; TG_EIO. <version>: the
 * new (put) or present (get) one, from 1 up. <value> is valid during the call only (get). */
typedef void (*ms_done)(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len);

struct ms_item {
    const char *key;
    const char *value;
    size_t len;
    int64_t version;
};
typedef void (*ms_listed)(void *ctx, enum tg_err e, const struct ms_item *items, size_t count);
/* Something under the watched prefix was changed, by any port, after it became durable. value NULL:
 * it was deleted. */
typedef void (*ms_watched)(void *ctx, const struct ms_item *item);

/* Opens <dir>/meta.db and starts the metadata thread. *why as in log_open. */
TG_MUSTCHECK enum tg_err meta_open(struct meta_store **out, const char *dir, char **why);
void meta_close(struct meta_store *m); /* all that waits is carried out first; all ports closed */

struct ms_port *ms_port_open(struct meta_store *m, void (*wake)(void *ctx), void *ctx);
void ms_port_close(struct ms_port *p); /* callbacks not yet run are dropped */
void ms_port_poll(struct ms_port *p);
/* Blocks until all operations submitted so far are carried out, and polls. False: there were none.
 * What its callbacks submit is for the next call. */
bool ms_port_finish(struct ms_port *p);

void ms_get(struct ms_port *p, const char *key, ms_done done, void *ctx);
/* <done> may be NULL in the next two. */
void ms_put(struct ms_port *p, const char *key, const char *value, size_t len, int64_t expected,
            ms_done done, void *ctx);
void ms_delete(struct ms_port *p, const char *key, int64_t expected, ms_done done, void *ctx);
void ms_list(struct ms_port *p, const char *prefix, ms_listed done, void *ctx); /* sorted by key */
void ms_watch(struct ms_port *p, const char *prefix, ms_watched fn, void *ctx);

#endif

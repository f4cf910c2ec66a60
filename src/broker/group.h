/* group.h - resource groups: a quota with a name of its own, hung on namespaces and tenants,
 * whatever their number: what is published to all of them together, and what is sent to consumers.
 *
 * Owner: the control worker. Kept in the metadata store as resourcegroup/<name>. */
#ifndef BROKER_GROUP_H
#define BROKER_GROUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/registry.h"

struct broker_quota;

struct group {
    char *name;
    json_t *doc; /* as set, by today's names */
    struct broker_quota *quota[LIMIT_SIDES];
    uint32_t attached; /* namespaces and tenants that it is hung on: while any, it is not deleted */
    UT_hash_handle hh;
};

struct group *registry_group(struct registry *r, const char *name);
struct group *registry_groups(struct registry *r); /* walk with hh.next */

/* Makes it, or changes what <doc> (by today's names, group_doc_read) says of it and leaves the
 * rest. TG_ERANGE: the limits that this makes can't be. */
void registry_put_group(struct registry *r, const char *name, json_t *doc, registry_done done,
                        void *ctx);
/* TG_ENOENT; TG_EBUSY: it is hung on something. */
void registry_delete_group(struct registry *r, const char *name, registry_done done, void *ctx);
/* Hangs a group on it instead of the one that it may have; NULL: none. In force at once, for those
 * who wait too. TG_ENOENT: there is no such group, or it has gone itself. */
void registry_set_ns_group(struct registry *r, struct ns *ns, const char *group, registry_done done,
                           void *ctx);
void registry_set_tenant_group(struct registry *r, struct tenant *t, const char *group,
                               registry_done done, void *ctx);

/* ---- JSON (group_json.c) ---- */

/* What was sent, by today's names: those of PIP-82 are known too, whatever the case of their
 * letters; null is as if it were absent. TG_EINVAL, TG_ERANGE with *why (caller frees). */
TG_MUSTCHECK enum tg_err group_doc_read(const json_t *sent, json_t **doc, char **why);
/* One side of a document. TG_ERANGE with *why (caller frees, may be NULL). */
TG_MUSTCHECK enum tg_err group_doc_policy(const json_t *doc, enum limit_side kind,
                                          struct rate_policy *out, char **why);
/* Both can be. As group_doc_policy. */
TG_MUSTCHECK enum tg_err group_doc_check(const json_t *doc, char **why);

#endif

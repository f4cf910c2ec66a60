/* path.h - the scopes that one message is charged to, narrowest first.
 *
 * A frame is admitted only while every limit on its path has tokens, and then all of them are
 * charged, or none. One owner. */
#ifndef QUOTA_PATH_H
#define QUOTA_PATH_H

#include <stdint.h>

#include "quota/scope.h"

enum { PATH_SCOPES_MAX = 12 };

struct path {
    uint32_t count;
    struct scope *scope[PATH_SCOPES_MAX]; /* borrowed */
};

void path_add(struct path *p, struct scope *s); /* asserts that there is room and the order holds */

/* The narrowest scope that lacks tokens, or NULL: then path_charge may follow at the same <now_ns>.
 */
struct scope *path_binding(const struct path *p, int64_t now_ns);
/* True: but for a dry run it would not have been admitted. */
bool path_charge(const struct path *p, uint64_t msgs, uint64_t bytes, int64_t now_ns);

#endif

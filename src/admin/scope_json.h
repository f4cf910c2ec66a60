/* scope_json.h - a scope's limit as JSON, the same in explain and in limits. */
#ifndef ADMIN_SCOPE_JSON_H
#define ADMIN_SCOPE_JSON_H

#include <jansson.h>

#include "quota/explain.h"

json_t *scope_json(const struct explain_scope *s);

#endif

/* kv.h - the wire's lists of KeyValue as JSON objects, for stats and rows. */
#ifndef BROKER_KV_H
#define BROKER_KV_H

#include <jansson.h>
#include <stddef.h>

#include "wire/command.h"

/* A new object, or NULL for an empty list. Keys or values that are no UTF-8 are left out. */
json_t *key_values_to_json(Pulsar__Proto__KeyValue *const *kv, size_t n);

/* Of keys and values together; what stays in memory may have at most so many. */
enum { KEY_VALUES_MAX_BYTES = 16 * 1024 };
size_t key_values_bytes(Pulsar__Proto__KeyValue *const *kv, size_t n);

#endif

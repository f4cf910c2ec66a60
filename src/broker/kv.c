#include "broker/kv.h"

#include <string.h>

json_t *key_values_to_json(Pulsar__Proto__KeyValue *const *kv, size_t n)
{
    if (n == 0)
        return NULL;
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, kv[i]->key, json_string(kv[i]->value));
    return o;
}

size_t key_values_bytes(Pulsar__Proto__KeyValue *const *kv, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += strlen(kv[i]->key) + strlen(kv[i]->value);
    return sum;
}

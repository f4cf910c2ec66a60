/* names.h - names of tenants, namespaces and topics, and which of them are allowed. Pure. */
#ifndef BROKER_NAMES_H
#define BROKER_NAMES_H

#include <stdbool.h>

#include "base/err.h"

enum { NAME_MAX_LEN = 1024 }; /* of a full topic name: it becomes a metadata key and a log field */

/* What whoever asks for a non-persistent topic is told, over the wire and over REST. */
#define NON_PERSISTENT_REFUSED "non-persistent topics are not served by this broker"

struct topic_name {
    bool persistent;
    char *full;        /* persistent://tenant/ns/local: the key everywhere */
    char *ns;          /* tenant/ns */
    char *tenant;      /* tenant */
    const char *local; /* points into full */
    char *partitioned; /* full without -partition-N; NULL when it is no partition */
    int partition;     /* N, or -1 */
};

/* Accepts persistent://t/n/x, non-persistent://t/n/x, t/n/x and x (public/default). TG_EINVAL with
 * a phrase in *why otherwise. */
TG_MUSTCHECK enum tg_err topic_name_parse(struct topic_name *out, const char *s, const char **why);
void topic_name_fini(struct topic_name *n);

/* Tenant, namespace, cluster and subscription names: [-=:.\w]+ as Pulsar has it; a subscription may
 * hold anything but '/'. */
bool name_is_valid(const char *s);
bool name_is_valid_subscription(const char *s);
/* Producers' and consumers' names, and what clients say of themselves: any clean text. */
bool name_is_valid_producer(const char *s);
/* "__..." or the system namespace's: not listed to clients. */
bool name_is_system_topic(const char *local);

#endif

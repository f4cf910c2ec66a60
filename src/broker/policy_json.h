/* policy_json.h - the policies that limit a rate, and how each is written as JSON: what REST speaks
 * and what rows store. Pure. */
#ifndef BROKER_POLICY_JSON_H
#define BROKER_POLICY_JSON_H

#include <jansson.h>

#include "base/err.h"
#include "quota/policy.h"

/* Which names its fields have: policy_json.c lists them. */
enum policy_words { WORDS_OF_PUBLISHING, WORDS_OF_DISPATCH, WORDS_OF_SUBSCRIBING };

struct policy_form {
    const char *name; /* in rows, paths and events: "dispatchRate" */
    /* In a namespace's policies, as a map from the names of clusters: "topicDispatchRate"; so is
     * its row. NULL: it stands in the row by its name. */
    const char *by_cluster;
    enum policy_words words;
    bool is_total; /* over many topics: it can't follow what is published */
};

const struct policy_form *rate_form(enum rate_kind k);
const struct policy_form *quota_form(enum limit_side k);

json_t *policy_to_json(const struct policy_form *f, const struct rate_policy *p);
/* TG_EINVAL / TG_ERANGE with *why (caller frees) for what is no usable policy. */
TG_MUSTCHECK enum tg_err policy_from_json(const struct policy_form *f, struct rate_policy *out,
                                          const json_t *j, char **why);

/* Into a row, under its name; nothing where it is not present. */
void policy_into_row(json_t *row, const struct policy_form *f, const struct rate_policy *p);
/* Out of one: not present where it is not there. TG_ECORRUPT: it was logged, with <key>. */
TG_MUSTCHECK enum tg_err policy_from_row(const struct policy_form *f, struct rate_policy *out,
                                         const json_t *row, const char *key);

#endif

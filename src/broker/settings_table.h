/* settings_table.h - one row per setting; private to settings*.c. */
#ifndef BROKER_SETTINGS_TABLE_H
#define BROKER_SETTINGS_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum setting_kind {
    SETTING_TEXT,    /* char *; an empty value is NULL where `may_be_empty` */
    SETTING_ADDRESS, /* char *; a numeric IP address or localhost */
    SETTING_WHOLE,   /* int64_t from min to max, times unit */
    SETTING_SIZE,    /* int64_t bytes with a suffix, from min to max */
    SETTING_CHOICE,  /* bool: word[1] means true, word[0] false */
};

struct setting {
    const char *name; /* as in broker.conf */
    size_t offset;    /* in struct settings */
    const char *standard;
    const char *standard_doc; /* what the documentation says instead of `standard`; NULL: that */
    const char *doc;
    const char *word[2]; /* SETTING_CHOICE */
    int64_t min, max;
    int64_t unit;       /* SETTING_WHOLE: 0 means 1 */
    const char *remark; /* joined to what is allowed; NULL: nothing */
    enum setting_kind kind;
    int may_be_empty;
    int is_dynamic; /* no text; may be changed while the broker runs: registry_dynamic.c */
};

extern const struct setting setting_table[];
extern const size_t setting_count;

#endif

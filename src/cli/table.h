/* table.h - answers as a table for people: one line per element of a JSON array, with columns as
 * wide as what is in them. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"

enum { TABLE_COLUMNS_MAX = 12 };

struct table_column {
    const char *title;
    const char *key;
    int decimals; /* of a number that is not whole */
};

/* What is absent, null or an empty text is printed as "-", true as "yes", false as "no". <columns>
 * ends with a row without title. TG_EINVAL: <rows> is no array. */
enum tg_err table_print(FILE *f, const json_t *rows, const struct table_column *columns);

#endif

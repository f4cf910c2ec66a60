/* table.c - see table.h. All cells are made first, so that every column is as wide as its widest.
 * Columns of numbers stand right. */
#include "cli/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/err.h"

static char *cell_of(const json_t *v, int decimals)
{
    const char *text = json_string_value(v);
    if (json_is_boolean(v))
        return xstrdup(json_is_true(v) ? "yes" : "no");
    if (json_is_integer(v))
        return xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    if (json_is_real(v))
        return xasprintf("%.*f", decimals, json_real_value(v));
    return xstrdup(text && *text ? text : "-");
}

static void print_cell(FILE *f, const char *text, int width, bool is_number, bool is_last)
{
    if (is_number)
        fprintf(f, "%*s", width, text);
    else
        fprintf(f, "%-*s", is_last ? 0 : width, text);
    fputs(is_last ? "\n" : "  ", f);
}

enum tg_err table_print(FILE *f, const json_t *rows, const struct table_column *columns)
{
    if (!json_is_array(rows))
        return TG_EINVAL;
    size_t n = json_array_size(rows), count = 0;
    int width[TABLE_COLUMNS_MAX];
    bool is_number[TABLE_COLUMNS_MAX];
    for (; columns[count].title; count++) {
        TG_ASSERT(count < TABLE_COLUMNS_MAX);
        width[count] = (int)strlen(columns[count].title);
        is_number[count] = n > 0;
    }
    char **cell = xcalloc(n * count + 1, sizeof *cell);
    for (size_t i = 0; i < n * count; i++) {
        size_t k = i % count;
        const json_t *v = json_object_get(json_array_get(rows, i / count), columns[k].key);
        cell[i] = cell_of(v, columns[k].decimals);
        int len = (int)strlen(cell[i]);
        width[k] = len > width[k] ? len : width[k];
        is_number[k] = is_number[k] && json_is_number(v);
    }
    for (size_t k = 0; k < count; k++)
        print_cell(f, columns[k].title, width[k], is_number[k], k + 1 == count);
    for (size_t i = 0; i < n * count; i++) {
        size_t k = i % count;
        print_cell(f, cell[i], width[k], is_number[k], k + 1 == count);
        free(cell[i]);
    }
    free(cell);
    return TG_OK;
}

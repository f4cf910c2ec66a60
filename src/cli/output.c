/* output.c - answers for people: one name per line where the answer is a list, indented JSON where
 * pulsar-admin prints JSON. With --output json every answer is printed as the broker gave it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/command.h"

static void print_line(const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    puts(text ? text : json_string_value(value));
    free(text);
}

static void print_lines(json_t *j)
{
    size_t i;
    const char *key;
    json_t *value;
    json_array_foreach(j, i, value) print_line(value);
    json_object_foreach(j, key, value) puts(key);
}

static void print_json(const json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);
    puts(text);
    free(text);
}

int output_print(const struct call *c, const char *reply)
{
    enum output kind = c->command->output;
    if (kind == OUT_NOTHING)
        return CLI_OK;
    bool empty = !*reply;
    if (kind == OUT_TEXT || c->raw_json) {
        printf("%s\n", empty && kind != OUT_TEXT ? "null" : reply);
        return CLI_OK;
    }
    json_t *j = json_loads(empty ? "null" : reply, JSON_DECODE_ANY, NULL);
    if (!j) {
        complain(c, "the answer is no JSON: %.200s", reply);
        return CLI_FAILED;
    }
    if (kind == OUT_LINES)
        print_lines(j);
    else
        print_json(j);
    json_decref(j);
    return CLI_OK;
}

/* Reading, checking and printing settings by the rows of settings_table.c.
 *
 * Invariant: a struct settings that settings_init has filled always holds allowed values: a value
 * that is refused changes nothing, and the reason names the key, the value and what is allowed. An
 * unknown key of a file is only a warning, so that a broker.conf written for Pulsar can be used as
 * it is. */
#include "broker/settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/settings_table.h"

enum {
    CONFIG_LINE_MAX = 4096, /* longer than any sensible line: a binary file is refused early */
    VALUE_TEXT_MAX = 512,
};

/* A message must fit the smallest share of the memory that it passes through as a whole: receiving
 * gets a tenth (base/budget.c). */
#define MESSAGES_IN_MEMORY INT64_C(10)
/* What a segment holds beside one largest message: record headers and its footer. */
#define SEGMENT_OVERHEAD (INT64_C(64) << 10)

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < setting_count; i++)
        if (strcmp(setting_table[i].name, name) == 0)
            return &setting_table[i];
    return NULL;
}

static char **text_of(const struct settings *s, const struct setting *row)
{
    return (char **)((char *)(uintptr_t)s + row->offset);
}

static int64_t *whole_of(const struct settings *s, const struct setting *row)
{
    return (int64_t *)(void *)((char *)(uintptr_t)s + row->offset);
}

static bool *choice_of(const struct settings *s, const struct setting *row)
{
    return (bool *)((char *)(uintptr_t)s + row->offset);
}

static bool is_text(const struct setting *row)
{
    return row->kind == SETTING_TEXT || row->kind == SETTING_ADDRESS;
}

static enum tg_err whole_parse(const char *word, int64_t *out)
{
    const char *digits = word + (*word == '-');
    if (!isdigit((unsigned char)*digits))
        return TG_EINVAL;
    char *end;
    errno = 0;
    long long v = strtoll(word, &end, 10);
    if (*end)
        return TG_EINVAL;
    *out = v;
    return errno == ERANGE ? TG_ERANGE : TG_OK;
}

enum tg_err size_parse(const char *word, int64_t *bytes)
{
    static const char suffix[] = "kmgt";
    if (!isdigit((unsigned char)*word))
        return TG_EINVAL;
    char *end;
    errno = 0;
    long long n = strtoll(word, &end, 10);
    bool too_long = errno == ERANGE;
    int shift = 0;
    if (*end) {
        const char *at = strchr(suffix, tolower((unsigned char)*end));
        if (!at || end[1])
            return TG_EINVAL;
        shift = 10 * (int)(at - suffix + 1);
    }
    if (too_long || n > INT64_MAX >> shift)
        return TG_ERANGE;
    *bytes = n << shift;
    return TG_OK;
}

static void size_print(char *out, size_t cap, int64_t bytes)
{
    static const char *const suffix[] = {"", "K", "M", "G", "T"};
    int i = 0;
    while (i < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, cap, "%" PRId64 "%s", bytes, suffix[i]);
}

static void allowed_print(char *out, size_t cap, const struct setting *row)
{
    char low[32], high[32];
    int n = 0;
    switch (row->kind) {
    case SETTING_TEXT:
        n = snprintf(out, cap, "%s", row->may_be_empty ? "text, or nothing" : "text, not empty");
        break;
    case SETTING_ADDRESS:
        n = snprintf(out, cap, "an IPv4 or IPv6 address, or localhost");
        break;
    case SETTING_WHOLE:
        n = row->min == row->max ? snprintf(out, cap, "%" PRId64, row->min)
                                 : snprintf(out, cap, "a whole number from %" PRId64 " to %" PRId64,
                                            row->min, row->max);
        break;
    case SETTING_SIZE:
        size_print(low, sizeof low, row->min);
        size_print(high, sizeof high, row->max);
        n = snprintf(out, cap, "a size from %s to %s", low, high);
        break;
    case SETTING_CHOICE:
        n = snprintf(out, cap, "%s or %s", row->word[1], row->word[0]);
        break;
    }
    if (row->remark && n > 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, " (%s)", row->remark);
}

static enum tg_err refuse(const struct setting *row, const char *value, enum tg_err e, char **why)
{
    char allowed[VALUE_TEXT_MAX];
    allowed_print(allowed, sizeof allowed, row);
    *why = xasprintf("%s=%s is not allowed; allowed: %s", row->name, value, allowed);
    return e;
}

static bool address_is_valid(const char *value)
{
    unsigned char ip[16];
    return strcmp(value, "localhost") == 0 || inet_pton(AF_INET, value, ip) == 1 ||
           inet_pton(AF_INET6, value, ip) == 1;
}

static enum tg_err set_text(struct settings *s, const struct setting *row, const char *value)
{
    if (!*value && !row->may_be_empty)
        return TG_EINVAL;
    if (strlen(value) >= VALUE_TEXT_MAX)
        return TG_ERANGE;
    if (row->kind == SETTING_ADDRESS && !address_is_valid(value))
        return TG_EINVAL;
    char **at = text_of(s, row);
    free(*at);
    *at = *value ? xstrdup(value) : NULL;
    return TG_OK;
}

static enum tg_err set_number(struct settings *s, const struct setting *row, const char *value)
{
    int64_t v = 0;
    enum tg_err e = row->kind == SETTING_SIZE ? size_parse(value, &v) : whole_parse(value, &v);
    if (e == TG_OK && (v < row->min || v > row->max))
        e = TG_ERANGE;
    if (e == TG_OK)
        *whole_of(s, row) = v * (row->unit ? row->unit : 1);
    return e;
}

static enum tg_err set_choice(struct settings *s, const struct setting *row, const char *value)
{
    for (int i = 0; i < 2; i++) {
        if (strcmp(value, row->word[i]) == 0) {
            *choice_of(s, row) = i == 1;
            return TG_OK;
        }
    }
    return TG_EINVAL;
}

static enum tg_err set(struct settings *s, const struct setting *row, const char *value)
{
    switch (row->kind) {
    case SETTING_TEXT:
    case SETTING_ADDRESS:
        return set_text(s, row, value);
    case SETTING_WHOLE:
    case SETTING_SIZE:
        return set_number(s, row, value);
    case SETTING_CHOICE:
        return set_choice(s, row, value);
    }
    return TG_EINVAL;
}

enum tg_err settings_set(struct settings *s, const char *key, const char *value, char **why)
{
    *why = NULL;
    const struct setting *row = find(key);
    if (!row) {
        *why = xasprintf("%s: no such setting", key);
        return TG_ENOENT;
    }
    enum tg_err e = set(s, row, value);
    return e == TG_OK ? e : refuse(row, value, e, why);
}

bool settings_is_dynamic(const char *key)
{
    const struct setting *row = find(key);
    return row && row->is_dynamic;
}

void settings_copy_one(struct settings *to, const struct settings *from, const char *key)
{
    const struct setting *row = find(key);
    TG_ASSERT(row && !is_text(row));
    if (row->kind == SETTING_CHOICE)
        *choice_of(to, row) = *choice_of(from, row);
    else
        *whole_of(to, row) = *whole_of(from, row);
}

static int64_t quarter_of_machine(void)
{
    int64_t pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    int64_t quarter = pages > 0 && page_bytes > 0 ? pages / 4 * page_bytes : 0;
    int64_t least = find("tidegateMemory")->min;
    return quarter < least ? least : quarter;
}

/* One per core; from four cores up one is left to the threads of the store and of HTTP. CPUs that
 * the process may not run on don't count. */
static int64_t workers_for_machine(void)
{
    cpu_set_t set;
    int64_t cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int64_t n = cores >= 4 ? cores - 1 : cores;
    return n < BROKER_WORKERS_MAX ? n : BROKER_WORKERS_MAX;
}

void settings_init(struct settings *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_table[i];
        if (row->standard)
            TG_ASSERT(set(s, row, row->standard) == TG_OK);
    }
    s->memory_bytes = quarter_of_machine();
    s->workers = workers_for_machine();
}

void settings_fini(struct settings *s)
{
    for (size_t i = 0; i < setting_count; i++)
        if (is_text(&setting_table[i]))
            free(*text_of(s, &setting_table[i]));
    memset(s, 0, sizeof *s);
}

/* Cuts blanks off both ends, in place. */
static char *trimmed(char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    char *end = p + strlen(p);
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return p;
}

static enum tg_err read_line(struct settings *s, char *line, const char *path, int number,
                             char **why)
{
    char *text = trimmed(line);
    if (!*text || *text == '#')
        return TG_OK;
    char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        *why = xasprintf("%s:%d: '%.80s' is no key=value", path, number, text);
        return TG_EINVAL;
    }
    *equals = '\0';
    char *key = trimmed(text), *value = trimmed(equals + 1), *reason;
    enum tg_err e = settings_set(s, key, value, &reason);
    if (e == TG_ENOENT) {
        log_warn("%s:%d: %s is no setting of this broker; ignored", path, number, key);
        e = TG_OK;
    } else if (e != TG_OK) {
        *why = xasprintf("%s:%d: %s", path, number, reason);
    }
    free(reason);
    return e;
}

static enum tg_err read_lines(struct settings *s, FILE *f, const char *path, char **why)
{
    char line[CONFIG_LINE_MAX];
    for (int number = 1; fgets(line, sizeof line, f); number++) {
        if (!strchr(line, '\n') && !feof(f)) {
            *why = xasprintf("%s:%d: line longer than %d bytes", path, number, CONFIG_LINE_MAX);
            return TG_ERANGE;
        }
        enum tg_err e = read_line(s, line, path, number, why);
        if (e != TG_OK)
            return e;
    }
    if (ferror(f)) {
        *why = xasprintf("%s: cannot be read: %s", path, strerror(errno));
        return TG_EIO;
    }
    return TG_OK;
}

enum tg_err settings_read_file(struct settings *s, const char *path, char **why)
{
    *why = NULL;
    FILE *f = fopen(path, "re");
    if (!f) {
        *why = xasprintf("%s: cannot be opened: %s", path, strerror(errno));
        return errno == ENOENT ? TG_ENOENT : TG_EIO;
    }
    enum tg_err e = read_lines(s, f, path, why);
    fclose(f);
    return e;
}

enum tg_err settings_check(const struct settings *s, char **why)
{
    *why = NULL;
    if (s->max_message_bytes > s->memory_bytes / MESSAGES_IN_MEMORY) {
        *why = xasprintf("maxMessageSize=%" PRId64 " is too much for tidegateMemory=%" PRId64
                         " (--memory); allowed: a tenth of the memory",
                         s->max_message_bytes, s->memory_bytes);
        return TG_ERANGE;
    }
    if (s->max_message_bytes > s->segment_bytes - SEGMENT_OVERHEAD) {
        *why = xasprintf("maxMessageSize=%" PRId64
                         " does not fit a segment (tidegateSegmentSizeMB=%" PRId64
                         "); allowed: %" PRId64 " bytes less than the segment",
                         s->max_message_bytes, s->segment_bytes >> 20, SEGMENT_OVERHEAD);
        return TG_ERANGE;
    }
    if (s->broker_port == s->web_port && s->broker_port != 0) {
        *why = xasprintf("brokerServicePort and webServicePort are both %" PRId64
                         "; allowed: two different ports",
                         s->broker_port);
        return TG_EINVAL;
    }
    return TG_OK;
}

static void value_print(char *out, size_t cap, const struct settings *s, const struct setting *row)
{
    if (is_text(row))
        snprintf(out, cap, "%s", *text_of(s, row) ? *text_of(s, row) : "");
    else if (row->kind == SETTING_CHOICE)
        snprintf(out, cap, "%s", row->word[*choice_of(s, row)]);
    else
        snprintf(out, cap, "%" PRId64, *whole_of(s, row) / (row->unit ? row->unit : 1));
}

void settings_each(const struct settings *s,
                   void (*fn)(void *ctx, const char *name, const char *value, const char *allowed,
                              const char *doc),
                   void *ctx)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_table[i];
        char value[VALUE_TEXT_MAX], allowed[VALUE_TEXT_MAX];
        value_print(value, sizeof value, s, row);
        allowed_print(allowed, sizeof allowed, row);
        fn(ctx, row->name, value, allowed, row->doc);
    }
}

void settings_each_default(void (*fn)(void *ctx, const char *name, const char *value,
                                      const char *allowed, const char *doc),
                           void *ctx)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *row = &setting_table[i];
        char allowed[VALUE_TEXT_MAX];
        allowed_print(allowed, sizeof allowed, row);
        fn(ctx, row->name, row->standard_doc ? row->standard_doc : row->standard, allowed,
           row->doc);
    }
}

/* store.c - `tidegate store`: what a data directory holds (dump: one line per stored entry, for
 * operators who want to know and for tests that need the broker's times of admission), and whether
 * it is all there (verify). Reads only; the broker may be running. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/command.h"
#include "store/ledger_store.h"

static int exit_code(enum tg_err e)
{
    if (e == TG_EIO || e == TG_ECORRUPT)
        return CLI_DISK;
    return e == TG_OK ? CLI_OK : CLI_FAILED;
}

int store_dump_run(struct call *c)
{
    uint64_t ledger = (uint64_t)args_number(&c->args, "ledger", -1); /* -1: all */
    char *why = NULL;
    enum tg_err e = log_dump(args_value(&c->args, "data-dir"), ledger, stdout, &why);
    if (e != TG_OK)
        complain(c, "%s", why ? why : err_text(e));
    free(why);
    return exit_code(e);
}

static void print_what_to_do(const struct log_findings *f)
{
    if (f->stopping)
        printf(
            "The broker does not start on this. Put back undamaged copies of the files; or give up "
            "the entries\nin them by moving the files out of the directory.\n");
    else
        printf("The broker starts on this, and all but the entries named can be read. Put back "
               "undamaged copies of the\nfiles while it is stopped; or have the subscriptions of "
               "those "
               "topics skip them (`topics stats-internal`\nshows a topic's ledger).\n");
}

int store_verify_run(struct call *c)
{
    struct log_findings f;
    char *why = NULL;
    enum tg_err e = log_verify(args_value(&c->args, "data-dir"), stdout, &f, &why);
    if (why)
        complain(c, "%s", why);
    free(why);
    if (e != TG_OK && e != TG_ECORRUPT)
        return exit_code(e);
    printf("%" PRIu32 " segment%s, %" PRIu64 " entries, %.1f MB: ", f.segments,
           f.segments == 1 ? "" : "s", f.entries, (double)f.bytes / 1e6);
    if (f.problems)
        printf("%" PRIu32 " problem%s\n", f.problems, f.problems == 1 ? "" : "s");
    else
        printf("no damage%s\n",
               f.in_use ? " (a broker uses it: whether the segments fit together was not looked at)"
                        : "");
    if (f.problems)
        print_what_to_do(&f);
    return exit_code(e);
}

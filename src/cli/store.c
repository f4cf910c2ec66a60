/* store.c - `tidegate store dump`: what a data directory holds, one line per stored entry, for
 * operators who want to know and for tests that need the broker's times of admission. Reads only;
 * the broker may be running. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/command.h"
#include "store/ledger_store.h"

int store_dump_run(struct call *c)
{
    uint64_t ledger = (uint64_t)args_number(&c->args, "ledger", -1); /* -1: all */
    char *why = NULL;
    enum tg_err e = log_dump(args_value(&c->args, "data-dir"), ledger, stdout, &why);
    if (e != TG_OK)
        complain(c, "%s", why ? why : err_text(e));
    free(why);
    if (e == TG_EIO || e == TG_ECORRUPT)
        return CLI_DISK;
    return e == TG_OK ? CLI_OK : CLI_FAILED;
}

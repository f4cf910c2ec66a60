/* main.c - the one binary: see cli/cli.h. */
#include "cli/cli.h"

/* jemalloc reads it at its start: memory that is no longer used goes back to the system from
 * a thread of its own, a second after. Without jemalloc it is a string that nobody reads. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}

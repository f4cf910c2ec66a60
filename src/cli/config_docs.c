/* config_docs.c - prints docs/configuration.md, so that the manual and the checks can't disagree;
 * `tools/check-docs` fails when the file in the repository is not what this prints. */
#include "cli/config_docs.h"

#include <stdio.h>

#include "broker/settings.h"

static void print_row(void *ctx, const char *name, const char *value, const char *allowed,
                      const char *doc)
{
    fprintf(ctx, "| `%s` | %s | %s | %s%s |\n", name, *value ? value : "(empty)", allowed, doc,
            settings_is_dynamic(name) ? " Dynamic." : "");
}

void config_docs_print(void *file)
{
    fprintf(file,
            "# Configuration\n\n"
            "<!-- Printed by `tidegate standalone --print-config-docs`; change "
            "src/broker/settings_table.c instead. -->\n\n"
            "`tidegate standalone --config FILE` reads lines of `key=value`; blank lines and lines "
            "that begin with `#`\nare skipped. A key that this broker does not have is a warning "
            "in the log, so a `broker.conf` written for\nPulsar can be used as it is. A value that "
            "is not allowed stops the start with exit code 2, and the\nmessage says key, value and "
            "what is allowed. An option on the command line wins over the file.\n\n"
            "What is dynamic can be changed while the broker runs, in force at once: `tidegate "
            "brokers update-dynamic-config`.\nA value set so is kept in the data directory and "
            "wins over the file until `delete-dynamic-config`.\n\n"
            "Sizes are bytes, or a number with K, M, G or T (powers of 1024).\n\n"
            "| key | default | allowed | meaning |\n"
            "| --- | --- | --- | --- |\n");
    settings_each_default(print_row, file);
}

/* cli.h - the command line: `tidegate standalone` and the admin commands in pulsar-admin's grammar.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/* Exit codes, also in --help and docs/operations.md. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1, /* the server or the command failed: a reason is on stderr */
    CLI_USAGE = 2,  /* bad arguments or settings: what is wrong and what is allowed is on stderr */
    CLI_UNREACHABLE = 3, /* no answer from --admin-url */
    CLI_REFUSED = 4,     /* the broker answered with an error: its reason is on stderr */
    CLI_DISK = 5,        /* standalone ended because the disk failed or the data are damaged */
};

int cli_main(int argc, char **argv);
/* `tidegate standalone ...`: runs the server (cli/standalone.c). */
int cli_standalone(int argc, char **argv);

#endif

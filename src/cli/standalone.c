/* standalone.c - `tidegate standalone`: settings from options and file, signals, and the broker's
 * and the HTTP side's start and stop.
 *
 * Order: settings are checked before anything is opened; signals are blocked before the first
 * thread is made, so that only the watcher takes them; what says "ready" on stdout is printed when
 * both ports answer. An option on the command line wins over the same setting in the file. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/broker.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/config_docs.h"

struct server {
    struct settings settings;
    struct broker broker;
    struct admin *admin;
    int web_port;
};

/* ---- options ---- */

static const struct cli_option options[] = {
    {.name = "data-dir", .takes = "DIR", .help = "where messages and metadata are kept (data)"},
    {.name = "bind", .takes = "ADDRESS", .help = "address to listen on (127.0.0.1)"},
    {.name = "broker-port", .takes = "N", .help = "binary protocol; 0: any free port (6650)"},
    {.name = "web-port", .takes = "N", .help = "HTTP; 0: any free port (8080)"},
    {.name = "workers", .takes = "N", .help = "threads that serve connections (one per core)"},
    {.name = "memory", .takes = "SIZE", .help = "e.g. 512M, 2G (a quarter of the machine)"},
    {.name = "durability", .takes = "sync|os", .help = "sync: a receipt follows fdatasync (sync)"},
    {.name = "config", .takes = "FILE", .help = "broker.conf: lines of key=value"},
    {.name = "log-level", .takes = "LEVEL", .help = "debug, info, warn or error (info)"},
    {.name = "print-config-docs", .help = "prints docs/configuration.md and ends"},
    {.name = "help", .letter = "h", .help = "this text"},
    {.name = NULL},
};

static const char *const option_setting[][2] = {
    {"data-dir", "tidegateDataDir"},      {"bind", "bindAddress"},
    {"broker-port", "brokerServicePort"}, {"web-port", "webServicePort"},
    {"workers", "tidegateWorkers"},       {"memory", "tidegateMemory"},
    {"durability", "tidegateDurability"},
};

static void print_key(void *ctx, const char *name, const char *value, const char *allowed,
                      const char *doc)
{
    (void)doc;
    fprintf(ctx, "  %s=%s  (%s)\n", name, value, allowed);
}

static void help(FILE *f)
{
    fprintf(f, "tidegate standalone [OPTIONS]\n  runs the broker until SIGTERM or SIGINT\n\n");
    for (const struct cli_option *o = options; o->name; o++) {
        if (strcmp(o->name, "print-config-docs") == 0)
            continue;
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->takes ? " " : "",
                 o->takes ? o->takes : "");
        fprintf(f, "  %-24s %s\n", left, o->help);
    }
    fprintf(f, "\nKeys of --config with their defaults (docs/configuration.md says more):\n");
    settings_each_default(print_key, f);
}

static enum tg_err take_options(struct settings *s, const struct args *a, char **why)
{
    const char *file = args_value(a, "config"), *level = args_value(a, "log-level");
    enum log_level least;
    if (level && log_level_parse(level, &least) != TG_OK) {
        *why =
            xasprintf("--log-level %s is not allowed; allowed: debug, info, warn or error", level);
        return TG_EINVAL;
    }
    if (level)
        log_set_level(least);
    enum tg_err e = file ? settings_read_file(s, file, why) : TG_OK;
    for (size_t i = 0; e == TG_OK && i < sizeof option_setting / sizeof option_setting[0]; i++) {
        const char *value = args_value(a, option_setting[i][0]);
        if (!value)
            continue;
        char *reason;
        e = settings_set(s, option_setting[i][1], value, &reason);
        if (e != TG_OK)
            *why = xasprintf("--%s %s: %s", option_setting[i][0], value, reason);
        free(reason);
    }
    return e == TG_OK ? settings_check(s, why) : e;
}

/* ---- the process ---- */

static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0)
        log_warn("limit of open files can't be raised to %llu: %s", (unsigned long long)r.rlim_max,
                 strerror(errno));
}

struct watcher {
    pthread_t thread;
    sigset_t signals;
    struct broker *broker;
    _Atomic bool done;
};

/* timeout(1) and others signal the process and then its group: nobody means both that fast. */
#define SIGNAL_REPEAT_NS (500 * MONO_MS)

/* The first signal ends the broker in order, a later one at once. */
static void *watch(void *ctx)
{
    struct watcher *w = ctx;
    for (int64_t first_ns = MONO_NEVER;;) {
        int number = 0;
        if (sigwait(&w->signals, &number) != 0 || atomic_load(&w->done))
            return NULL;
        if (first_ns == MONO_NEVER) {
            first_ns = mono_now_ns();
            log_info("%s: ends in order", strsignal(number));
            broker_stop(w->broker);
        } else if (mono_now_ns() - first_ns > SIGNAL_REPEAT_NS) {
            log_warn("%s again: ends at once", strsignal(number));
            _exit(CLI_FAILED);
        }
    }
}

static void block_signals(struct watcher *w)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&w->signals);
    sigaddset(&w->signals, SIGTERM);
    sigaddset(&w->signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &w->signals, NULL);
}

static void watch_end(struct watcher *w)
{
    atomic_store(&w->done, true);
    pthread_kill(w->thread, SIGTERM); /* wakes it; it takes only signals meant to end it */
    pthread_join(w->thread, NULL);
}

static bool is_loopback(const char *address)
{
    return strcmp(address, "localhost") == 0 || strncmp(address, "127.", 4) == 0 ||
           strcmp(address, "::1") == 0;
}

static void say_where(const struct server *s)
{
    const struct settings *set = &s->settings;
    log_info("listening: %s and %s", s->broker.service_url, s->broker.web_url);
    if (is_loopback(set->bind_address))
        log_info("loopback only, since no authentication is configured (--bind changes it)");
    else
        log_warn("bound to %s without authentication: whoever reaches it may do everything",
                 set->bind_address);
    log_info("data in %s, durability %s, memory %lld MiB", set->data_dir,
             set->durability_sync ? "sync" : "os", (long long)(set->memory_bytes >> 20));
}

/* On worker 0, when clients can be served. */
static void on_ready(void *ctx)
{
    struct server *s = ctx;
    say_where(s);
    printf("tidegate ready broker=%s web=%s\n", s->broker.service_url, s->broker.web_url);
    fflush(stdout);
}

static char *web_url(const struct settings *s, int port)
{
    const char *host = s->advertised_address ? s->advertised_address : s->bind_address;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = "localhost";
    bool bare6 = strchr(host, ':') != NULL;
    return xasprintf("http://%s%s%s:%d", bare6 ? "[" : "", host, bare6 ? "]" : "", port);
}

static int failed(enum tg_err e, char *why)
{
    log_error("start: %s", why ? why : err_text(e));
    free(why);
    return e == TG_ECORRUPT || e == TG_EIO || e == TG_ENOSPC ? CLI_DISK : CLI_FAILED;
}

static int run(struct server *s, struct watcher *w)
{
    struct broker *b = &s->broker;
    w->broker = b;
    if (pthread_create(&w->thread, NULL, watch, w) != 0)
        return failed(TG_ELIMIT, xstrdup("no thread for signals"));
    int code = broker_run(b, on_ready, s);
    watch_end(w);
    if (b->fatal && code != CLI_DISK)
        log_error("%s", b->fatal);
    return code;
}

static int serve(struct server *s)
{
    struct watcher w = {.done = false};
    raise_file_limit();
    block_signals(&w);
    char *why = NULL;
    enum tg_err e = broker_open(&s->broker, &s->settings, &why);
    if (e != TG_OK)
        return failed(e, why);
    s->web_port = (int)s->settings.web_port;
    e = admin_start(&s->admin, &s->broker, &s->web_port, &why);
    int code;
    char *url = NULL;
    if (e != TG_OK) {
        failed(e, why);
        code = CLI_FAILED; /* a port, not a disk */
    } else {
        s->broker.web_url = url = web_url(&s->settings, s->web_port);
        code = run(s, &w);
        admin_stop(s->admin);
    }
    broker_close(&s->broker);
    free(url);
    log_info("ended, exit code %d", code);
    return code;
}

int cli_standalone(int argc, char **argv)
{
    struct args a;
    char *why = NULL;
    struct server *s = xcalloc(1, sizeof *s);
    settings_init(&s->settings);
    int code = CLI_USAGE;
    enum tg_err e = args_parse(&a, options, argc - 1, argv + 1, &why);
    if (e == TG_OK && a.count > 0) {
        why = xasprintf("'%s': standalone takes options only", a.arg[0]);
    } else if (e == TG_OK && args_has(&a, "help")) {
        help(stdout);
        code = CLI_OK;
    } else if (e == TG_OK && args_has(&a, "print-config-docs")) {
        config_docs_print(stdout);
        code = CLI_OK;
    } else if (e == TG_OK && take_options(&s->settings, &a, &why) == TG_OK) {
        code = serve(s);
    }
    if (why)
        fprintf(stderr, "tidegate: standalone: %s\n", why);
    free(why);
    settings_fini(&s->settings);
    free(s);
    return code;
}

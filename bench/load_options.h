/* load_options.h - the command line of the load generator, and its manual (load --help). */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "load.h"

static const char load_help[] =
    "load --port N [options] [--group SPEC ...]\n"
    "Sends messages to a broker and measures receipts; prints JSON.\n\n"
    "  --host ADDRESS      127.0.0.1\n"
    "  --port N            the broker's port\n"
    "  --connections N     1\n"
    "  --warmup S          seconds before measuring, after all producers are open; 1\n"
    "  --duration S        seconds measured; 5\n"
    "  --pid P             measure the CPU time of this process (the broker) too\n"
    "  --lookup            look topics up before opening producers, as clients do\n"
    "  --client-version V  of CONNECT; Tidegate-load-1 (a client no broker will try to hold)\n"
    "  --group SPEC        comma-separated key=value; up to 8 groups; default one group:\n"
    "      name=N          in the result; g0, g1, ...\n"
    "      producers=N     on each connection of the group; 1\n"
    "      first=N conns=N the group's connections; 0, all\n"
    "      topic=T         %c: connection, %p: producer;\n"
    "                      persistent://public/default/load-NAME-%c-%p\n"
    "      window=N        frames without a receipt; 1000\n"
    "      rate=R          messages/s and producer; 0: as fast as the window lets\n"
    "      batch=N         messages per frame; 1\n"
    "      size=N          bytes per message; 1024\n"
    "      writes=each     a write(2) for each frame, as clients do; else as many frames as can "
    "be\n\n"
    "A limited producer and its neighbour on one connection:\n"
    "  load --port 6650 --group name=a,window=1000 --group name=b,rate=200,window=10\n"
    "A thousand producers with two frames outstanding each, on one connection:\n"
    "  load --port 6650 --group producers=1000,window=2\n";

_Noreturn static inline void bad_usage(const char *what)
{
    fprintf(stderr, "load: bad %s (see --help)\n", what);
    exit(2);
}

static inline void set_group_key(struct group *g, const char *key, const char *value)
{
    if (strcmp(key, "name") == 0)
        snprintf(g->name, sizeof(g->name), "%s", value);
    else if (strcmp(key, "topic") == 0)
        snprintf(g->topic, sizeof(g->topic), "%s", value);
    else if (strcmp(key, "producers") == 0)
        g->producers = atoi(value);
    else if (strcmp(key, "first") == 0)
        g->first_conn = atoi(value);
    else if (strcmp(key, "conns") == 0)
        g->conns = atoi(value);
    else if (strcmp(key, "window") == 0)
        g->window = atoi(value);
    else if (strcmp(key, "rate") == 0)
        g->rate = atof(value);
    else if (strcmp(key, "batch") == 0)
        g->batch = atoi(value);
    else if (strcmp(key, "size") == 0)
        g->size = atoi(value);
    else if (strcmp(key, "writes") == 0)
        g->one_write = strcmp(value, "each") == 0;
    else
        bad_usage(key);
}

static inline void add_group(struct load *l, const char *spec)
{
    if (l->group_count == GROUPS_MAX)
        bad_usage("number of groups");
    struct group *g = &l->groups[l->group_count];
    *g = (struct group){.producers = 1, .window = 1000, .batch = 1, .size = 1024};
    char number[16];
    snprintf(number, sizeof(number), "g%d", l->group_count++);
    set_group_key(g, "name", number);
    char *copy = xstrdup(spec), *rest = copy;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(word, '=');
        if (*word == '\0')
            continue;
        if (value == NULL)
            bad_usage(word);
        *value++ = '\0';
        set_group_key(g, word, value);
    }
    free(copy);
    if (g->topic[0] == '\0') {
        char *topic = xasprintf("persistent://public/default/load-%s-%%c-%%p", g->name);
        set_group_key(g, "topic", topic);
        free(topic);
    }
    if (g->producers < 1 || g->window < 1 || g->window > WINDOW_MAX || g->batch < 1 ||
        g->size < 0 || (int64_t)g->batch * (g->size + 16) > FRAME_MAX_MESSAGE - 256 || g->rate < 0)
        bad_usage(spec);
}

static inline void parse_options(struct load *l, int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"warmup", required_argument, NULL, 'w'},
                                            {"duration", required_argument, NULL, 'd'},
                                            {"pid", required_argument, NULL, 'P'},
                                            {"group", required_argument, NULL, 'g'},
                                            {"lookup", no_argument, NULL, 'l'},
                                            {"client-version", required_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'H':
            snprintf(l->host, sizeof(l->host), "%s", optarg);
            break;
        case 'p':
            l->port = atoi(optarg);
            break;
        case 'c':
            l->conn_count = atoi(optarg);
            break;
        case 'w':
            l->warmup_s = atof(optarg);
            break;
        case 'd':
            l->duration_s = atof(optarg);
            break;
        case 'P':
            l->pid = atoi(optarg);
            break;
        case 'g':
            add_group(l, optarg);
            break;
        case 'l':
            l->lookup = true;
            break;
        case 'v':
            l->client_version = optarg;
            break;
        default:
            fputs(load_help, o == 'h' ? stdout : stderr);
            exit(o == 'h' ? 0 : 2);
        }
    }
    if (l->port < 1 || l->conn_count < 1 || l->duration_s <= 0)
        bad_usage("options: --port, --connections and --duration must be above zero");
    if (l->group_count == 0)
        add_group(l, "");
}

#endif

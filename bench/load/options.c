/* options.c - the command line of the load generator, and its manual (load --help). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "load.h"

static const char load_help[] =
    "load --port N [options] [--group SPEC ...]\n"
    "Sends messages to a broker, or takes them from it, and prints JSON.\n\n"
    "  --host ADDRESS      127.0.0.1\n"
    "  --port N            the broker's port\n"
    "  --connections N     1\n"
    "  --warmup S          seconds before measuring, after all are open; 1\n"
    "  --duration S        seconds measured; 5. With frames=: the most it may take\n"
    "  --drain S           then send nothing more and wait so long for outstanding receipts; 0\n"
    "  --pid P             measure the CPU time of this process (the broker) too\n"
    "  --lookup            look topics up before opening producers, as clients do\n"
    "  --client-version V  of CONNECT; Tidegate-load-1 (a client no broker will try to hold)\n"
    "  --group SPEC        comma-separated key=value; up to 64 groups; default one group:\n"
    "      name=N          in the result; g0, g1, ...\n"
    "      producers=N     on each connection of the group; 1\n"
    "      consumers=N     instead: a group of consumers\n"
    "      first=N conns=N the group's connections; 0, all\n"
    "      topic=T         %c: connection, %p: number in the group and connection;\n"
    "                      persistent://public/default/load-NAME-%c-%p\n"
    "      frames=N        each one's; measured until all are done. Default: no end\n"
    "      batch=N         messages per frame; 1\n"
    "    producers:\n"
    "      window=N        frames without a receipt; 1000\n"
    "      rate=R          messages/s and producer; 0: as fast as the window lets\n"
    "      spread=S        they begin one by one over S seconds, not all at once; 0\n"
    "      size=N          bytes per message; 1024\n"
    "      writes=each     a write(2) for each frame, as clients do; else as many frames as can "
    "be\n"
    "    consumers:\n"
    "      window=N        permits, given again by halves; 1000\n"
    "      sub=NAME        the subscription, from its earliest message on; load\n"
    "      type=T          exclusive (default: ids must come in order) or shared\n"
    "      acks=N          message ids in one ACK; 1000\n\n"
    "A limited producer and its neighbour on one connection:\n"
    "  load --port 6650 --group name=a,window=1000 --group name=b,rate=200,window=10\n"
    "A thousand producers with two frames outstanding each, on one connection:\n"
    "  load --port 6650 --group producers=1000,window=2\n"
    "A backlog of a million (the subscription must be there before), then its consumption:\n"
    "  load --port 6650 --duration 60 --group frames=1000000\n"
    "  load --port 6650 --duration 60 --group consumers=1,frames=1000000\n";

_Noreturn static void bad_usage(const char *what)
{
    fprintf(stderr, "load: bad %s (see --help)\n", what);
    exit(2);
}

static void set_text(char *out, size_t size, const char *value)
{
    if (strlen(value) >= size)
        bad_usage(value);
    strcpy(out, value);
}

struct number_key {
    const char *name;
    size_t offset; /* of an int in struct group */
};

static const struct number_key number_keys[] = {
    {"first", offsetof(struct group, first_conn)}, {"conns", offsetof(struct group, conns)},
    {"window", offsetof(struct group, window)},    {"batch", offsetof(struct group, batch)},
    {"size", offsetof(struct group, size)},        {"acks", offsetof(struct group, acks)},
};

static bool set_number(struct group *g, const char *key, const char *value)
{
    for (size_t i = 0; i < sizeof(number_keys) / sizeof(number_keys[0]); i++)
        if (strcmp(key, number_keys[i].name) == 0) {
            *(int *)(void *)((char *)g + number_keys[i].offset) = atoi(value);
            return true;
        }
    return false;
}

static void set_group_key(struct group *g, const char *key, const char *value)
{
    if (set_number(g, key, value))
        return;
    if (strcmp(key, "name") == 0) {
        set_text(g->name, sizeof(g->name), value);
    } else if (strcmp(key, "topic") == 0) {
        set_text(g->topic, sizeof(g->topic), value);
    } else if (strcmp(key, "sub") == 0) {
        set_text(g->subscription, sizeof(g->subscription), value);
    } else if (strcmp(key, "producers") == 0 || strcmp(key, "consumers") == 0) {
        g->consumes = key[0] == 'c';
        g->members = atoi(value);
    } else if (strcmp(key, "frames") == 0) {
        g->frames = strtoull(value, NULL, 10);
    } else if (strcmp(key, "rate") == 0) {
        g->rate = atof(value);
    } else if (strcmp(key, "spread") == 0) {
        g->spread_s = atof(value);
    } else if (strcmp(key, "writes") == 0) {
        g->one_write = strcmp(value, "each") == 0;
    } else if (strcmp(key, "type") == 0) {
        g->shared = strcmp(value, "shared") == 0;
    } else {
        bad_usage(key);
    }
}

static bool group_is_good(const struct group *g)
{
    return g->members >= 1 && g->window >= 1 && g->window <= WINDOW_MAX && g->batch >= 1 &&
           g->size >= 0 && (int64_t)g->batch * (g->size + 16) <= FRAME_MAX_MESSAGE - 256 &&
           g->rate >= 0 && g->spread_s >= 0 && g->acks >= 1 && g->acks <= ACKS_MAX;
}

static void add_group(struct load *l, const char *spec)
{
    if (l->group_count == GROUPS_MAX)
        bad_usage("number of groups");
    struct group *g = &l->groups[l->group_count];
    *g = (struct group){.members = 1,
                        .window = 1000,
                        .batch = 1,
                        .size = 1024,
                        .acks = 1000,
                        .subscription = "load"};
    snprintf(g->name, sizeof(g->name), "g%d", l->group_count++);
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
        set_text(g->topic, sizeof(g->topic), topic);
        free(topic);
    }
    if (!group_is_good(g))
        bad_usage(spec);
}

static void set_option(struct load *l, int option)
{
    switch (option) {
    case 'H':
        set_text(l->host, sizeof(l->host), optarg);
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
    case 'D':
        l->drain_s = atof(optarg);
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
        fputs(load_help, option == 'h' ? stdout : stderr);
        exit(option == 'h' ? 0 : 2);
    }
}

void parse_options(struct load *l, int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"warmup", required_argument, NULL, 'w'},
                                            {"duration", required_argument, NULL, 'd'},
                                            {"drain", required_argument, NULL, 'D'},
                                            {"pid", required_argument, NULL, 'P'},
                                            {"group", required_argument, NULL, 'g'},
                                            {"lookup", no_argument, NULL, 'l'},
                                            {"client-version", required_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;)
        set_option(l, o);
    if (l->port < 1 || l->conn_count < 1 || l->duration_s <= 0)
        bad_usage("options: --port, --connections and --duration must be above zero");
    if (l->group_count == 0)
        add_group(l, "");
}

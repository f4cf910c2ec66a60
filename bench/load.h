/* load.h - what the load generator is made of: groups of producers, connections, the whole. The
 * program is load.c, its command line load_options.h. One thread. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "message.h"
#include "net/stream.h"
#include "wire/command.h"

enum {
    GROUPS_MAX = 8,
    WINDOW_MAX = 1 << 20,
};

struct group {
    char name[64];
    char topic[256];                  /* %c: connection, %p: producer in the group and connection */
    int first_conn, conns, producers; /* producers on each connection */
    int window;                       /* frames outstanding */
    double rate;                      /* messages/s and producer; 0: as fast as the window lets */
    int batch, size;
    bool one_write; /* a write(2) for each frame, as clients do; else one for each turn */
    struct message message;
    struct histogram latency; /* of frames */
    uint64_t receipts;        /* messages, in the measured time */
    uint64_t sent, resent, send_errors, wrong_ids, closed_by_broker;
};

struct conn;

struct producer {
    struct conn *conn;
    struct group *group;
    uint64_t id;
    char *topic, *name;
    uint64_t next_sequence, oldest_sequence; /* of frames, not messages */
    int64_t *sent_ns;                        /* ring of <window>, by frame */
    bool ready, touched, waiting_to_fill;
    struct producer *next_touched;
    struct timer pace;
    int64_t due_ns; /* of the next paced frame */
};

struct conn {
    struct load *load;
    struct stream *stream;
    int index;
    struct producer **producers; /* by producer id */
    int producer_count;
    struct producer *touched; /* got receipts in this run of bytes */
    struct arena *arena;
};

struct load {
    struct worker *w;
    char host[64];
    int port, pid;
    int conn_count, group_count;
    const char *client_version;
    double warmup_s, duration_s;
    struct group groups[GROUPS_MAX];
    struct conn *conns;
    int producers_to_open;
    uint64_t next_request;
    bool lookup, sending, measuring, failed;
    struct timer phase;
    int64_t begin_ns, cpu_ns, target_cpu_ns;
    int64_t wall_ns;
};

#endif

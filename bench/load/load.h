/* load.h - what the load generator is made of: groups of producers and consumers, connections, the
 * whole. main.c builds it, runs its phases and prints the result; options.c is its command line;
 * conn.c reads commands and hands them to producer.c and consumer.c. One thread. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "message.h"
#include "net/stream.h"
#include "wire/command.h"

#define OF(type, ptr, member) ((type *)((char *)(ptr)-offsetof(type, member)))

enum {
    GROUPS_MAX = 64,
    WINDOW_MAX = 1 << 20,
    ACKS_MAX = 4096, /* message ids in one ACK */
};

/* Requests of producers have their producer's id; those of consumers begin here. */
#define CONSUMER_REQUESTS (UINT64_C(1) << 32)

struct group {
    char name[64];
    char topic[256]; /* %c: connection, %p: member of the group on the connection */
    bool consumes;
    int first_conn, conns, members; /* producers, or consumers, on each connection */
    uint64_t frames;                /* each of them sends, or takes, so many; 0: no end */
    int window;                     /* frames outstanding; of a consumer: its permits */
    double rate;                    /* messages/s and producer; 0: as fast as the window lets */
    double spread_s;                /* they begin one by one over this time; 0: all at once */
    int batch, size;
    bool one_write; /* a write(2) for each frame, as clients do; else one for each turn */
    char subscription[64];
    bool shared; /* else Exclusive */
    int acks;    /* message ids in one ACK */

    struct message message;
    struct histogram latency; /* of frames; of a consumer nothing is timed */
    uint64_t messages;        /* with a receipt, or delivered, in the measured time */
    uint64_t acknowledged;    /* messages with a receipt, at any time */
    uint64_t frames_done;     /* likewise, of frames */
    uint64_t sent, resent, send_errors, wrong_ids, closed_by_broker;
};

struct conn;

struct producer {
    struct conn *conn;
    struct group *group;
    int index; /* in its group and connection */
    uint64_t id;
    char *topic, *name;
    uint64_t next_sequence, oldest_sequence; /* of frames, not messages */
    int64_t *sent_ns;                        /* ring of <window>, by frame */
    bool ready, touched, waiting_to_fill;
    struct producer *next_touched;
    struct timer pace;
    int64_t due_ns; /* of the next paced frame */
};

struct consumer {
    struct conn *conn;
    struct group *group;
    uint64_t id;
    char *topic;
    bool ready;
    uint64_t taken; /* frames */
    const struct producer
        *from;           /* who alone sends to a new topic, in this process; NULL: another */
    uint64_t next_entry; /* Exclusive: the one that must come next */
    int used;            /* permits, since the last FLOW */
    uint64_t ledger;
    uint64_t *unacked; /* entries, up to group->acks */
    int unacked_count;
};

struct conn {
    struct load *load;
    struct stream *stream;
    int index;
    struct producer **producers; /* by producer id */
    struct consumer **consumers; /* by consumer id */
    int producer_count, consumer_count;
    struct producer *touched; /* got receipts in this run of bytes */
    struct arena *arena;
};

struct load {
    struct worker *w;
    char host[64];
    int port, pid;
    int conn_count, group_count;
    const char *client_version;
    double warmup_s, duration_s, drain_s;
    uint64_t outstanding; /* frames without a receipt */
    struct group groups[GROUPS_MAX];
    struct conn *conns;
    int to_open;     /* producers and consumers that are not ready */
    int to_finish;   /* of those with a number of frames: who is not done */
    bool has_an_end; /* some group has a number of frames: measured from the start, until all are
                        done */
    bool lookup, sending, measuring, draining, failed;
    struct timer phase;
    int64_t begin_ns, cpu_ns, target_cpu_ns;
    int64_t wall_ns;
};

/* options.c: fills <l>, or ends the program. */
void parse_options(struct load *l, int argc, char **argv);

/* main.c */
void load_fail(struct load *l, const char *what, const char *detail);
void load_one_is_ready(struct load *l); /* the last one begins it all */
void load_one_is_done(struct load *l);  /* it had a number of frames; the last one ends it */
void load_is_drained(struct load *l);   /* nothing is outstanding any more */

/* conn.c */
void conn_open(struct conn *c);
void conn_send_command(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void conn_send_lookup(struct conn *c, const char *topic, uint64_t request);
/* A varint at *p, which moves behind it. */
uint64_t read_varint(const uint8_t **p, const uint8_t *end);

/* producer.c */
struct producer *producer_make(struct conn *c, struct group *g, int index);
void producer_free(struct producer *p);
void producer_open(struct producer *p);  /* PRODUCER */
void producer_ready(struct producer *p); /* it may send */
void producer_closed_by_broker(struct producer *p);
void producer_begin(struct producer *p, int64_t now_ns);
void producer_fill(struct producer *p, int64_t now_ns); /* as many as its window or rate lets */
/* A SEND_RECEIPT, or a SEND that came back (the floor's echo). */
void producer_receipt(struct conn *c, const uint8_t *p, const uint8_t *end, int64_t now_ns);

/* consumer.c */
struct consumer *consumer_make(struct conn *c, struct group *g, int index);
void consumer_free(struct consumer *k);
void consumer_open(struct consumer *k); /* SUBSCRIBE */
void consumer_ready(struct consumer *k);
void consumer_begin(struct consumer *k); /* its first permits */
/* A MESSAGE, whole. */
void consumer_message(struct conn *c, const uint8_t *frame, size_t len);

#endif

/* writer.h - a thread for what takes long to write down: while one answer of many megabytes is
 * written, neither a worker's messages wait for it nor other requests. */
#ifndef ADMIN_WRITER_H
#define ADMIN_WRITER_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

struct writing { /* embedded in what is to be written */
    struct writing *next;
    void (*run)(struct writing *w); /* on the writer's thread; owns it */
};

struct writer { /* fields private to writer.c */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct writing *head, **tail;
    bool stop;
};

TG_MUSTCHECK enum tg_err writer_start(struct writer *w);
void writer_post(struct writer *w, struct writing *what); /* any thread; in order */
/* Runs what was posted, then ends. Nothing is posted any more. */
void writer_stop(struct writer *w);

#endif

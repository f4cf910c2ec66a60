/* writer.c - see writer.h. */
#include "admin/writer.h"

#include <stddef.h>

static struct writing *take(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->head == NULL && !w->stop)
        pthread_cond_wait(&w->work, &w->lock);
    struct writing *first = w->head;
    if (first != NULL)
        w->head = first->next;
    if (w->head == NULL)
        w->tail = &w->head;
    pthread_mutex_unlock(&w->lock);
    return first;
}

static void *run(void *arg)
{
    struct writer *w = arg;
    for (struct writing *next; (next = take(w)) != NULL;)
        next->run(next);
    return NULL;
}

enum tg_err writer_start(struct writer *w)
{
    *w = (struct writer){.tail = &w->head};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    if (pthread_create(&w->thread, NULL, run, w) == 0)
        return TG_OK;
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    return TG_ELIMIT;
}

void writer_post(struct writer *w, struct writing *what)
{
    what->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->tail = what;
    w->tail = &what->next;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

void writer_stop(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
}

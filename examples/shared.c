/* shared.c - two threads send 150 "messages" of 100 bytes each under one limit of 1000 messages and
 * 50 kB a second. Each has a lease, and returns it before it sleeps.
 *
 *   cc shared.c -ltidegate-limiter && ./a.out */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include <tidegate/limiter.h>

enum { MESSAGES = 150, BYTES = 100 };

static struct tg_shared_limit limit;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Until there may be tokens, or some millisecond in which the other thread may have got them. */
static void pause_for(int64_t wait_ns)
{
    if (wait_ns < 1000000)
        wait_ns = 1000000;
    struct timespec pause = {wait_ns / 1000000000, wait_ns % 1000000000};
    nanosleep(&pause, NULL);
}

static void *work(void *unused)
{
    struct tg_limit_lease lease = {{0}};
    for (int sent = 0; sent < MESSAGES;) {
        int64_t turn_ns = now_ns(); /* a loop turn: the clock is read once */
        while (sent < MESSAGES && tg_limit_lease_has(&lease, &limit, 1, BYTES, turn_ns)) {
            tg_limit_lease_charge(&lease, &limit, 1, BYTES);
            sent++;
        }
        tg_limit_lease_return(&lease, &limit, turn_ns);
        pause_for(tg_shared_limit_wait_ns(&limit, turn_ns));
    }
    return unused;
}

int main(void)
{
    struct tg_limit_spec spec = {.msgs = {.rate = 1000}, .bytes = {.rate = 50000}};
    enum tg_limit_problem problem = tg_limit_check(&spec);
    if (problem != TG_LIMIT_OK) {
        fprintf(stderr, "%s\n", tg_limit_problem_text(problem));
        return 1;
    }
    int64_t start_ns = now_ns();
    tg_shared_limit_init(&limit, &spec, 10, start_ns);

    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, work, NULL) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    printf("sent %d messages of %d bytes from two threads in %.2f s\n", 2 * MESSAGES, BYTES,
           (double)(now_ns() - start_ns) / 1e9);
    return 0;
}

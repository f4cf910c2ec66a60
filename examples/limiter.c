/* limiter.c - sends 300 "messages" of 100 bytes under a limit of 1000 messages and 50 kB a second,
 * with bursts at up to 100 kB a second.
 *
 *   cc limiter.c -ltidegate-limiter && ./a.out */
#include <stdio.h>
#include <time.h>

#include <tidegate/limiter.h>

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int main(void)
{
    struct tg_limit_spec spec = {.msgs = {.rate = 1000}, .bytes = {.rate = 50000, .peak = 100000}};
    enum tg_limit_problem problem = tg_limit_check(&spec);
    if (problem != TG_LIMIT_OK) {
        fprintf(stderr, "%s\n", tg_limit_problem_text(problem));
        return 1;
    }
    struct tg_limit_terms terms = tg_limit_terms_make(&spec);
    struct tg_limit limit;
    int64_t start_ns = now_ns();
    tg_limit_init(&limit, &terms, 10, start_ns);

    for (int sent = 0; sent < 300;) {
        int64_t wait_ns = tg_limit_wait_ns(&limit, now_ns());
        if (wait_ns == 0) {
            tg_limit_charge(&limit, 1, 100, now_ns());
            sent++;
            continue;
        }
        struct timespec pause = {wait_ns / 1000000000, wait_ns % 1000000000};
        nanosleep(&pause, NULL);
    }
    printf("sent 300 messages of 100 bytes in %.2f s\n", (double)(now_ns() - start_ns) / 1e9);
    return 0;
}

// For differential tests with several processes: workers that run a part of the program when they are told, with the numbers of the step, and hand back what they
// say. So all happens one after the other.
#pragma once
#include "random.h"
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { WORKERS = 3 };
static struct worker {
    pid_t pid;
    int to, from;
} workers[WORKERS];
static int me = -1; // a worker's number

struct order {
    void (*run)(void);
    uint64_t state;
};
struct answer {
    uint64_t state;
    size_t used;
    char line[sizeof random_line];
};
// Runs `run` in a worker; NULL: only waits until it is there.
static inline void order(int number, void (*run)(void))
{
    static struct answer answer;
    struct order order = {run, random_state};
    write(workers[number].to, &order, sizeof order);
    if (read(workers[number].from, &answer, sizeof answer) < (ssize_t)offsetof(struct answer, line)) {
        say(" gone");
        return;
    }
    random_state = answer.state;
    say("%.*s", (int)answer.used, answer.line);
}
// An action of a worker's, after which the program's show_all() shows what there is now.
#define ORDERED(weight, id)                                                                                            \
    static void part_##id(void);                                                                                       \
    ACTION(weight, id)                                                                                                 \
    {                                                                                                                  \
        int who = pick(WORKERS);                                                                                       \
        say("[%d] " #id, who);                                                                                         \
        order(who, part_##id), show_all();                                                                             \
    }                                                                                                                  \
    static void part_##id(void)

static inline void start_worker(int number, void (*prepare)(void))
{
    int to[2], from[2];
    pipe2(to, O_CLOEXEC), pipe2(from, O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        static struct answer answer;
        struct order order;
        close(to[1]), close(from[0]);
        for (int i = 0; i < WORKERS; i++) // else the others would not see their end
            if (i != number && workers[i].pid)
                close(workers[i].to), close(workers[i].from);
        me = number;
        workers[me].pid = getpid();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prepare();
        while (read(to[0], &order, sizeof order) == sizeof order) {
            random_state = order.state, random_used = 0;
            if (order.run)
                order.run();
            answer.state = random_state, answer.used = random_used;
            memcpy(answer.line, random_line, random_used);
            write(from[1], &answer, offsetof(struct answer, line) + random_used);
        }
        _exit(0);
    }
    close(to[0]), close(from[1]);
    workers[number] = (struct worker){pid, to[1], from[0]};
    order(number, NULL);
}
static inline void end_worker(int number)
{
    close(workers[number].to), close(workers[number].from);
    waitpid(workers[number].pid, NULL, 0);
}

// The n-th different number that is seen, from 1.
struct numbers {
    uint64_t seen[1000];
    unsigned count;
};
static inline unsigned rank(struct numbers *in, uint64_t number)
{
    for (unsigned i = 0; i < in->count; i++)
        if (in->seen[i] == number)
            return i + 1;
    if (in->count < 1000)
        in->seen[in->count++] = number;
    return in->count;
}

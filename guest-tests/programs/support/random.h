// The frame of a differential test: system calls at random, from a seed, each printed with all that came of it. Two kernels that are alike print the same, so
// suites/random.sh runs a program natively and in stockade and compares what they print.
//
//     ACTION(weight, name) { say("open %s", path); result(open(path, flags)); }
//     RANDOM_MAIN(begin)    // begin() prepares the place; it may print, too
//
// `PROGRAM SEED STEPS`, where STEPS is "0-999" or "3,17,40-50": each step draws its numbers from the seed and its own number, so that steps can be left out and
// the others stay the same (suites/shrink.py finds the few that matter). It works in the current folder, which is empty.
//
// Nothing that may differ between two runs natively may be printed: no pids, inode numbers, addresses, times, file descriptors of others. Actions never block.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct random_action {
    unsigned weight;
    void (*run)(void);
    struct random_action *next;
};
static struct random_action *random_first, **random_last = &random_first;
static uint64_t random_state;
static int random_out = 1; // where the transcript goes: a duplicate, so that actions may close their own
static char random_line[4096];
static size_t random_used;

#define ACTION(weight_, id)                                                                                            \
    static void action_##id(void);                                                                                     \
    static struct random_action random_##id = {.weight = weight_, .run = action_##id};                                 \
    __attribute__((constructor)) static void add_##id(void) { *random_last = &random_##id, random_last = &random_##id.next; } \
    static void action_##id(void)

// An action after which the program's state() shows what there is now.
#define SHOWN(weight, id)                                                                                              \
    static void step_##id(void);                                                                                       \
    ACTION(weight, id)                                                                                                 \
    {                                                                                                                  \
        step_##id();                                                                                                   \
        state();                                                                                                       \
    }                                                                                                                  \
    static void step_##id(void)

// splitmix64
static inline uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}
static inline uint64_t pick(uint64_t n) { return random_next() % n; }
static inline bool chance(unsigned percent) { return pick(100) < percent; }
#define ONE_OF(array) ((array)[pick(sizeof(array) / sizeof *(array))])
// Some of these bits, each with a chance of one to three.
static inline unsigned long some_of(const unsigned long *bits, size_t count)
{
    unsigned long is = 0;
    for (size_t i = 0; i < count; i++)
        if (pick(4) == 0)
            is |= bits[i];
    return is;
}
#define SOME_OF(array) some_of(array, sizeof(array) / sizeof *(array))

// Adds to the step's line.
__attribute__((format(printf, 1, 2))) static inline void say(const char *form, ...)
{
    va_list args;
    va_start(args, form);
    int n = vsnprintf(random_line + random_used, sizeof random_line - random_used, form, args);
    va_end(args);
    random_used += n < 0 ? 0 : (size_t)n;
    if (random_used > sizeof random_line - 2)
        random_used = sizeof random_line - 2;
}
// Adds the value of a call, or the name of its error; returns the value, so that it can be used.
static inline long result(long value)
{
    if (value == -1)
        say(" = %s", strerrorname_np(errno) ?: "?");
    else
        say(" = %ld", value);
    return value;
}
// The same of a call whose value says nothing: a descriptor, a pid, an address.
static inline long success(long value)
{
    if (value == -1)
        say(" = %s", strerrorname_np(errno) ?: "?");
    else
        say(" ok");
    return value;
}
// Bytes as a short sum (FNV-1a) for the transcript.
static inline uint32_t sum_of(const void *data, size_t size)
{
    uint32_t sum = 2166136261;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 16777619;
    return sum;
}
static inline void random_flush(void)
{
    random_line[random_used++] = '\n';
    for (size_t done = 0; done < random_used;) {
        ssize_t n = write(random_out, random_line + done, random_used - done);
        if (n <= 0)
            _exit(3);
        done += n;
    }
    random_used = 0;
}
// Seeds the numbers that follow: by a step's number, or any other.
static inline void random_seed(uint64_t seed, uint64_t step)
{
    random_state = seed;
    random_state = random_next() ^ step * 0xd1342543de82ef95;
    random_next();
}
static inline void random_step(uint64_t seed, uint64_t step)
{
    random_seed(seed, step);
    unsigned sum = 0;
    for (struct random_action *action = random_first; action; action = action->next)
        sum += action->weight;
    unsigned at = pick(sum);
    struct random_action *action = random_first;
    for (; at >= action->weight; action = action->next)
        at -= action->weight;
    say("%lu: ", step);
    action->run();
    random_flush();
}
// Who started this may ignore some signals, those that glibc keeps for itself among them.
static inline void reset_ignored_signals(void)
{
    for (int sig = 1; sig <= 64; sig++) {
        struct {
            unsigned long handler, flags, restorer, mask;
        } is = {0}, none = {0};
        if (!syscall(SYS_rt_sigaction, sig, NULL, &is, 8) && is.handler == (unsigned long)SIG_IGN)
            syscall(SYS_rt_sigaction, sig, &none, NULL, 8);
    }
}
static inline int random_main(int argc, char **argv, void (*begin)(void))
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SEED STEPS, for example 1 0-999 or 1 3,17,40-50\n", argv[0]);
        return 2;
    }
    reset_ignored_signals();
    random_out = fcntl(1, F_DUPFD_CLOEXEC, 900);
    umask(022);
    uint64_t seed = strtoull(argv[1], NULL, 0);
    random_seed(seed, -1);
    begin();
    if (random_used)
        random_flush();
    for (char *at = argv[2]; *at;) {
        uint64_t from = strtoull(at, &at, 10), to = from;
        if (*at == '-')
            to = strtoull(at + 1, &at, 10);
        for (uint64_t step = from; step <= to; step++)
            random_step(seed, step);
        if (*at == ',')
            at++;
        else if (*at)
            return 2;
    }
    say("end");
    random_flush();
    return 0;
}
#define RANDOM_MAIN(begin)                                                                                             \
    int main(int argc, char **argv) { return random_main(argc, argv, begin); }

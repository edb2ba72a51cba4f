// What the cases about control groups have in common: a group of the case's own, in the working folder, where a hierarchy is mounted.
#pragma once
#include <sys/mount.h>
#include <sys/statfs.h>
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static char top[64]; // the case's own group

static inline const char *at(const char *group, const char *file)
{
    static char paths[8][400];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s%s%s", top, group, *group && *file ? "/" : "", file);
    return path;
}

static inline char *text_of(const char *path)
{
    static char texts[4][4096];
    static int next;
    char *text = texts[next++ % 4];
    int fd = OK(open(path, O_RDONLY));
    ssize_t count = OK(read(fd, text, sizeof texts[0] - 1));
    text[count] = 0;
    close(fd);
    return text;
}

static inline int put(const char *path, const char *text)
{
    int fd = OK(open(path, O_WRONLY));
    int result = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1, error = errno;
    close(fd);
    errno = error;
    return result;
}

static inline void write_pid(const char *path, pid_t pid)
{
    char text[20];
    snprintf(text, sizeof text, "%d\n", pid);
    OK(put(path, text));
}

static inline int has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    for (const char *p = text; (p = strstr(p, line)); p++)
        if ((p == text || p[-1] == '\n') && (p[length] == '\n' || !p[length]))
            return 1;
    return 0;
}

static inline void clean_relative(void)
{
    char path[100];
    const char *below[] = {"a/b", "a", "b", "m", ""};
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 5; k++)
            snprintf(path, sizeof path, "%s/%s", top, below[k]), rmdir(path);
        if (access(top, F_OK))
            return;
        usleep(10000);
    }
}

static inline pid_t sleeper(void)
{
    pid_t pid = OK(fork());
    if (!pid)
        for (;;)
            pause();
    return pid;
}

static inline void end(pid_t pid)
{
    kill(pid, SIGKILL);
    OK(waitpid(pid, NULL, 0));
}

static inline long long field(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    CHECK(at);
    return atoll(at + strlen(key));
}
static inline pid_t busy_in(const char *group)
{
    pid_t pid = OK(fork());
    if (pid)
        return pid;
    OK(put(at(group, "cgroup.procs"), "0"));
    for (volatile unsigned long i = 0;; i++)
        ;
}

// Takes so many MiB, a page after the other, and stays.
static inline void take(size_t mib)
{
    size_t size = mib << 20;
    char *p = OK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t at = 0; at < size; at += 4096)
        p[at] = 1;
}
static inline pid_t hog_in(const char *group, size_t mib)
{
    pid_t pid = OK(fork());
    if (pid)
        return pid;
    OK(put(at(group, "cgroup.procs"), "0"));
    take(mib);
    for (;;)
        pause();
}

// A second thread, which counts as long as it runs.
struct worker {
    pthread_t thread;
    volatile pid_t tid;
    volatile int64_t count;
    volatile int stop;
    volatile useconds_t pause; // between two rounds; 0: 10 us
};
static inline void *work(void *of)
{
    struct worker *worker = of;
    worker->tid = syscall(SYS_gettid);
    for (; !worker->stop; usleep(worker->stop ? 0 : worker->pause ? worker->pause : 10))
        worker->count++;
    return NULL;
}
static inline void start(struct worker *worker)
{
    ZERO(pthread_create(&worker->thread, NULL, work, worker));
    EVENTUALLY(worker->count > 0);
}
static inline void finish(struct worker *worker)
{
    worker->stop = 1;
    ZERO(pthread_join(worker->thread, NULL));
}
static inline int lists(const char *path, pid_t number)
{
    char line[20];
    snprintf(line, sizeof line, "%d", number);
    return has_line(text_of(path), line);
}

// Processors.
static inline int cpus_of(pid_t pid)
{
    cpu_set_t set;
    OK(sched_getaffinity(pid, sizeof set, &set));
    return CPU_COUNT(&set);
}
static inline void may_run_on_the_first_alone(pid_t pid)
{
    cpu_set_t set;
    OK(sched_getaffinity(pid, sizeof set, &set));
    CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
}
static inline void runs_on_the_first_alone(void)
{
    unsigned cpu;
    EQ(cpus_of(0), 1);
    OK(syscall(SYS_getcpu, &cpu, NULL, NULL));
    EQ(cpu, 0);
}

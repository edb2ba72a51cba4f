// launch PROGRAM ARGS...: PID 1 of a test run. Starts the program as its child in a folder of its own under /tmp, reaps
// what is reparented to it, and ends with the program's status as soon as the program ends.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char folder[] = "/tmp/guest-test.XXXXXX";
    if (argc < 2 || !mkdtemp(folder) || chdir(folder)) {
        fprintf(stderr, "launch: no work folder in /tmp: %s\n", strerror(errno));
        return 125;
    }
    pid_t child = fork();
    if (child == 0) {
        setsid();
        execv(argv[1], argv + 1);
        fprintf(stderr, "launch: cannot execute %s: %s\n", argv[1], strerror(errno));
        _exit(126);
    }
    if (child < 0) {
        fprintf(stderr, "launch: cannot fork: %s\n", strerror(errno));
        return 125;
    }
    for (;;) {
        int status;
        pid_t gone = wait(&status);
        if (gone < 0 && errno != EINTR) {
            fprintf(stderr, "launch: wait: %s\n", strerror(errno));
            return 125;
        }
        if (gone == child) {
            chdir("/");
            rmdir(folder);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    }
}

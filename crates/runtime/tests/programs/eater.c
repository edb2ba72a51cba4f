// Takes 256 MiB of memory: touched by itself, or by what it reads there in large and small pieces.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char data[1 << 16];
    const char *how = argv[argc - 1];
    size_t total = 256u << 20, piece = 1 << 20;
    char *memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int zero = open("/dev/zero", O_RDONLY), file = open("/bin/busybox", O_RDONLY), pipes[2];
    if (memory == MAP_FAILED || zero < 0 || file < 0 || pipe(pipes) != 0)
        return 2;
    if (!strcmp(how, "pipe"))
        piece = sizeof data;
    if (!strcmp(how, "small"))
        piece = 4096;
    for (char *at = memory; at < memory + total; at += piece) {
        long got = 1;
        if (!strcmp(how, "touch"))
            memset(at, 1, piece);
        if (!strcmp(how, "zero"))
            got = read(zero, at, piece);
        if (!strcmp(how, "file"))
            got = pread(file, at, piece, 0);
        if (!strcmp(how, "pipe"))
            got = write(pipes[1], data, piece) == (long)piece ? read(pipes[0], at, piece) : -1;
        if (!strcmp(how, "small"))
            got = fstat(file, (struct stat *)at) == 0;
        if (got <= 0) {
            perror(how);
            return 3;
        }
    }
    return 0;
}

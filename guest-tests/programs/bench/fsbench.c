// fsbench: the parts of `cargo xtask bench --fs` that no program of Debian's does alone. Prints nanoseconds where it measures.
//   fsbench many FOLDER COUNT   makes so many empty files
//   fsbench list FOLDER         lists the folder once, as ls -f does
//   fsbench map FILE            maps the file and reads a byte of each page, once to warm it up and once measured
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int die(const char *what)
{
    perror(what);
    return 1;
}

static int many(const char *folder, long count)
{
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    if (dir < 0) {
        return die(folder);
    }
    for (long i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "name-%ld", i);
        int fd = openat(dir, name, O_CREAT | O_WRONLY, 0644);
        if (fd < 0) {
            return die(name);
        }
        close(fd);
    }
    return 0;
}

static int list(const char *folder)
{
    int64_t before = now();
    DIR *dir = opendir(folder);
    long names = 0;
    while (dir && readdir(dir)) {
        names++;
    }
    if (!dir || names < 2) {
        return die(folder);
    }
    closedir(dir);
    printf("%lld\n", (long long)(now() - before));
    return 0;
}

static int map(const char *file)
{
    struct stat st;
    int fd = open(file, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return die(file);
    }
    int64_t took = 0;
    volatile unsigned sum = 0;
    for (int round = 0; round < 2; round++) {
        int64_t before = now();
        unsigned char *bytes = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED) {
            return die("mmap");
        }
        for (off_t at = 0; at < st.st_size; at += 4096) {
            sum += bytes[at];
        }
        munmap(bytes, st.st_size);
        took = now() - before;
    }
    printf("%lld\n", (long long)took);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "many")) {
        return many(argv[2], atol(argv[3]));
    }
    if (argc == 3 && !strcmp(argv[1], "list")) {
        return list(argv[2]);
    }
    if (argc == 3 && !strcmp(argv[1], "map")) {
        return map(argv[2]);
    }
    fprintf(stderr, "usage: fsbench many FOLDER COUNT | list FOLDER | map FILE\n");
    return 2;
}

// What the tests of access control lists share, acl(5). Lists are written as "u::6 u:1000:4 g::4 m::6 o::0".
#pragma once
#include "check.h"
#include <grp.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 0x10, OTHER = 0x20 };
struct entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct list {
    uint32_t version;
    struct entry entries[60];
};
#define NOBODY 0xffffffff

static inline size_t read_list(const char *text, struct list *list)
{
    size_t count = 0;
    list->version = 2;
    for (const char *at = text; *at;) {
        struct entry *entry = &list->entries[count++];
        char kind = *at;
        at += 2;
        bool named = *at != ':';
        entry->id = named ? (uint32_t)strtoul(at, (char **)&at, 10) : NOBODY;
        at++;
        entry->perm = strtoul(at, (char **)&at, 8);
        entry->tag = kind == 'u' ? (named ? USER : USER_OBJ) : kind == 'g' ? (named ? GROUP : GROUP_OBJ) : kind == 'm' ? MASK : OTHER;
        while (*at == ' ')
            at++;
    }
    return 4 + count * sizeof(struct entry);
}
static inline const char *show(const struct list *list, ssize_t size)
{
    static char text[2000];
    char *at = text;
    *at = 0;
    for (const struct entry *entry = list->entries; size >= 4 && (const char *)entry < (const char *)list + size; entry++) {
        at += sprintf(at, "%s%c:", at == text ? "" : " ", entry->tag & (USER_OBJ | USER) ? 'u' : entry->tag & (GROUP_OBJ | GROUP) ? 'g' : entry->tag == MASK ? 'm' : 'o');
        if (entry->tag & (USER | GROUP))
            at += sprintf(at, "%u", entry->id);
        else
            EQ(entry->id, NOBODY);
        at += sprintf(at, ":%o", entry->perm);
    }
    return text;
}
static inline int try_set(const char *path, const char *name, const char *text)
{
    struct list list;
    size_t size = read_list(text, &list);
    return setxattr(path, name, &list, size, 0);
}
#define set(path, text) OK(try_set(path, ACCESS, text))
#define set_default(path, text) OK(try_set(path, DEFAULT, text))
static inline const char *get_named(const char *path, const char *name)
{
    struct list list;
    ssize_t size = lgetxattr(path, name, &list, sizeof list);
    if (size < 0 && errno == ENODATA)
        return "none";
    return show(&list, OK(size));
}
#define get(path) get_named(path, ACCESS)
#define get_default(path) get_named(path, DEFAULT)
static inline unsigned mode(const char *path)
{
    struct stat st;
    OK(lstat(path, &st));
    return st.st_mode & 07777;
}
static inline void become(uid_t uid, gid_t gid, gid_t more)
{
    OK(setgroups(more ? 1 : 0, &more));
    OK(setresgid(gid, gid, gid));
    OK(setresuid(uid, uid, uid));
}
// What a user gets of a file, by access(2) and, for regular files, by open(2).
static inline int rights(const char *path, uid_t uid, gid_t gid, gid_t more)
{
    pid_t child = FORK({
        become(uid, gid, more);
        int got = 0;
        for (int want = 1; want <= 4; want *= 2)
            got |= access(path, want) ? 0 : want;
        struct stat st;
        OK(stat(path, &st));
        if (S_ISREG(st.st_mode)) {
            EQ(open(path, O_RDONLY) >= 0, !!(got & 4));
            EQ(open(path, O_WRONLY) >= 0, !!(got & 2));
            EQ(open(path, O_RDWR) >= 0, (got & 6) == 6);
        } else if (S_ISDIR(st.st_mode))
            EQ(open(path, O_RDONLY | O_DIRECTORY) >= 0, !!(got & 4));
        _exit(got);
    });
    int status;
    OK(waitpid(child, &status, 0));
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}
static inline void make(const char *path, mode_t perm)
{
    close(OK(open(path, O_CREAT | O_EXCL | O_RDWR, 0600)));
    OK(chmod(path, perm));
}

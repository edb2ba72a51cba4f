// What the programs of this family share.
#pragma once
#include <sys/mount.h>
#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

// A mount namespace of its own, all of it private, with a tmpfs as working folder.
static inline void own_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace of its own");
    OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    OK(mkdir("work", 0755));
    OK(mount("work", "work", "tmpfs", 0, "mode=0755"));
    OK(chdir("work"));
}

// The line of /proc/self/mountinfo for a place below the working folder; empty where nothing is mounted there.
static inline const char *mountinfo(const char *place)
{
    static char line[4096];
    char wanted[2 * PATH_MAX], here[PATH_MAX];
    if (!getcwd(here, sizeof here))
        FAIL("getcwd fails: %s", strerror(errno));
    snprintf(wanted, sizeof wanted, " %s/%s ", here, place);
    FILE *file = fopen("/proc/self/mountinfo", "r");
    if (!file)
        FAIL("no /proc/self/mountinfo: %s", strerror(errno));
    bool found = false;
    char seen[sizeof line];
    while (fgets(seen, sizeof seen, file))
        if (strstr(seen, wanted))
            strcpy(line, seen), found = true;
    fclose(file);
    return found ? line : "";
}

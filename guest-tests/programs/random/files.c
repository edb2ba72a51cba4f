// Files and folders: names, links, modes, owners, times, sizes and content, by random calls on a small set of names.
// places: tmpfs overlay bind
#include "random.h"

static const char *const names[] = {"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "l", "d/l", ".", "..", "d/", "a/", "d/..", "d/e/.."};

static void begin(void) { umask(022); }

ACTION(10, mkdir)
{
    const char *path = ONE_OF(names);
    unsigned mode = pick(01000);
    say("mkdir %s %o", path, mode);
    result(mkdir(path, mode));
}
ACTION(6, rmdir)
{
    const char *path = ONE_OF(names);
    say("rmdir %s", path);
    result(rmdir(path));
}

RANDOM_MAIN(begin)

// A tmpfs whose mount names no size has one: tmpfs(5). Nobody gets all memory of the machine by one call.
#include "check.h"
#include <sys/mount.h>
#include <sys/statfs.h>

TEST(allocation_beyond_the_default_size)
{
    OK(mkdir("t", 0700));
    OK(mount("none", "t", "tmpfs", 0, NULL));
    int fd = OK(open("t/f", O_RDWR | O_CREAT, 0600));
    FAILS(ENOSPC, fallocate(fd, 0, 0, 1L << 46));
    FAILS(ENOSPC, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1L << 46));
    OK(ftruncate(fd, 1L << 40)); // a hole takes nothing
    struct statfs fs;
    OK(fstatfs(fd, &fs));
    CHECK(fs.f_blocks > 0 && fs.f_blocks < 1L << 34);
    EQ(fs.f_bfree, fs.f_blocks);
    close(fd);
    OK(umount("t"));
}
MAIN()

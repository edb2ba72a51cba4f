// What is kept of a FUSE server's contents: pages, keep_cache, direct_io, auto_inval_data, write-back, mmap, store and retrieve.
#include "fuse.h"

static struct fuse_node *file(void) { return &S->node[2]; }
static const char *at_once(int fd, size_t size)
{
    static char text[100];
    memset(text, 0, sizeof text);
    OK(pread(fd, text, size, 0));
    return text;
}
static void change(const char *text)
{
    strcpy(file()->data, text);
    file()->size = strlen(text);
}

TEST(contents_are_kept_while_open)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
    change("other");
    STREQ(at_once(fd, 5), "hello");
    EQ(S->count[FUSE_READ], 1);
    // The next open sees what is there.
    int again = OK(open("m/file", O_RDONLY));
    STREQ(at_once(again, 5), "other");
}
TEST(keep_cache_keeps)
{
    fuse_tree();
    S->open_flags = FOPEN_KEEP_CACHE, S->entry_valid = S->attr_valid = 100;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
    change("other");
    close(fd);
    fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
}
TEST(direct_io_keeps_nothing)
{
    fuse_tree();
    S->open_flags = FOPEN_DIRECT_IO;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    STREQ(at_once(fd, 5), "hello");
    change("other more");
    STREQ(at_once(fd, 99), "other more"); // beyond the size that is known
    EQ(S->last_flags[FUSE_READ], 99);
    EQ(pwrite(fd, "X", 1, 2), 1);
    STREQ(at_once(fd, 5), "otXer");
    FAILS(ENODEV, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
}
TEST(auto_inval_data_looks_at_times)
{
    fuse_tree();
    S->flags |= FUSE_AUTO_INVAL_DATA;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
    change("other");
    STREQ(at_once(fd, 5), "hello");
    file()->mtime++;
    STREQ(at_once(fd, 5), "other");
}
TEST(another_size_means_other_contents)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
    change("longer text");
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 11);
    STREQ(at_once(fd, 20), "longer text");
}
TEST(inval_inode)
{
    fuse_tree();
    S->entry_valid = S->attr_valid = 100;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "hello");
    change("other");
    struct fuse_notify_inval_inode_out out = {.ino = 2, .off = -1};
    fuse_notify(FUSE_NOTIFY_INVAL_INODE, &out, sizeof out, "", 0, 0);
    STREQ(at_once(fd, 5), "hello");
    int seen = S->count[FUSE_GETATTR];
    struct stat st;
    OK(fstat(fd, &st));
    EQ(S->count[FUSE_GETATTR], seen + 1);
    out.off = 0;
    fuse_notify(FUSE_NOTIFY_INVAL_INODE, &out, sizeof out, "", 0, 0);
    STREQ(at_once(fd, 5), "other");
    out.ino = 50;
    fuse_notify(FUSE_NOTIFY_INVAL_INODE, &out, sizeof out, "", 0, ENOENT);
}
TEST(inval_entry_and_delete)
{
    fuse_tree();
    S->entry_valid = S->attr_valid = 100;
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    OK(stat("m/dir/inner", &st));
    strcpy(file()->name, "gone");
    OK(stat("m/file", &st));
    struct fuse_notify_inval_entry_out out = {.parent = 1, .namelen = 4};
    fuse_notify(FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof out, "file", 5, 0);
    FAILS(ENOENT, stat("m/file", &st));
    fuse_notify(FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof out, "none", 5, ENOENT);
    fuse_notify(FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof out, "file", 4, EINVAL);
    struct fuse_notify_delete_out gone = {.parent = 3, .child = 4, .namelen = 5};
    *S->node[4].name = 0;
    fuse_notify(FUSE_NOTIFY_DELETE, &gone, sizeof gone, "inner", 6, 0);
    FAILS(ENOENT, stat("m/dir/inner", &st));
}
TEST(store_and_retrieve)
{
    fuse_tree();
    S->entry_valid = S->attr_valid = 100, S->open_flags = FOPEN_KEEP_CACHE;
    fuse_mount("");
    struct stat st;
    OK(stat("m/file", &st));
    struct fuse_notify_store_out store = {.nodeid = 2, .offset = 0, .size = 5};
    fuse_notify(FUSE_NOTIFY_STORE, &store, sizeof store, "STORE", 5, 0);
    int fd = OK(open("m/file", O_RDONLY));
    STREQ(at_once(fd, 5), "STORE");
    EQ(S->count[FUSE_READ], 0);
    struct fuse_notify_retrieve_out get = {.notify_unique = 77, .nodeid = 2, .offset = 1, .size = 3};
    fuse_notify(FUSE_NOTIFY_RETRIEVE, &get, sizeof get, "", 0, 0);
    EVENTUALLY(S->retrieved_size == 3);
    CHECK(!memcmp(S->retrieved, "TOR", 3));
    EQ(S->last[FUSE_NOTIFY_REPLY].unique, 77);
}
TEST(mapped_for_reading)
{
    fuse_tree();
    for (int i = 0; i < 300000; i++)
        file()->data[i] = i * 31 + (i >> 9);
    file()->size = 300000;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDONLY));
    char *map = mmap(NULL, 300000, PROT_READ, MAP_SHARED, fd, 0), *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
    CHECK(map != MAP_FAILED && own != MAP_FAILED);
    close(fd);
    CHECK(!memcmp(map, file()->data, 300000));
    CHECK(!memcmp(own, file()->data + 4096, 8192));
    for (int i = 300000; i < 303104; i++)
        EQ(map[i], 0);
    own[0] ^= 1;
    CHECK(!memcmp(map, file()->data, 300000));
    EQ(S->count[FUSE_RELEASE], 0);
    OK(munmap(map, 300000));
    OK(munmap(own, 8192));
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
}
TEST(shared_mappings_and_writes_see_each_other)
{
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    EQ(pwrite(fd, "J", 1, 0), 1);
    STREQ(map, "Jello");
    memcpy(map + 1, "UMP", 3);
    STREQ(at_once(fd, 5), "JUMPo");
    OK(msync(map, 4096, MS_SYNC));
    CHECK(!memcmp(file()->data, "JUMPo", 5));
    EQ(file()->size, 5);
    map[4] = '!';
    OK(fsync(fd));
    CHECK(!memcmp(file()->data, "JUMP!", 5));
    map[0] = 'L';
    close(fd);
    CHECK(!memcmp(file()->data, "LUMP!", 5));
    map[0] = 'B';
    OK(munmap(map, 4096));
    EVENTUALLY(!memcmp(file()->data, "BUMP!", 5));
    EVENTUALLY(S->count[FUSE_RELEASE] == 1);
}
TEST(write_back)
{
    fuse_tree();
    S->flags |= FUSE_WRITEBACK_CACHE;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR));
    for (int i = 0; i < 1000; i++)
        EQ(pwrite(fd, "abc", 3, 5 + i * 3), 3);
    struct stat st;
    OK(fstat(fd, &st));
    EQ(st.st_size, 3005);
    char text[10] = "";
    EQ(pread(fd, text, 9, 3), 9);
    STREQ(text, "loabcabca");
    CHECK(S->count[FUSE_WRITE] < 100);
    OK(fsync(fd));
    EQ(file()->size, 3005);
    CHECK(!memcmp(file()->data, "helloabcabc", 11));
    CHECK(S->last_flags[FUSE_WRITE] & FUSE_WRITE_CACHE);
    EQ(pwrite(fd, "X", 1, 10000), 1);
    OK(close(fd));
    EQ(file()->size, 10001);
    EQ(file()->data[10000], 'X');
    EQ(file()->data[9000], 0);
}
TEST(write_back_truncates_in_order)
{
    fuse_tree();
    S->flags |= FUSE_WRITEBACK_CACHE;
    fuse_mount("");
    int fd = OK(open("m/file", O_RDWR | O_APPEND));
    EQ(write(fd, " world", 6), 6);
    OK(ftruncate(fd, 7));
    EQ(write(fd, "W", 1), 1);
    OK(ftruncate(fd, 12));
    char text[13] = "";
    EQ(pread(fd, text, 13, 0), 12);
    CHECK(!memcmp(text, "hello wW\0\0\0\0", 12));
    OK(fsync(fd));
    CHECK(!memcmp(file()->data, "hello wW\0\0\0\0", 12));
    EQ(file()->size, 12);
}
TEST(write_back_of_parts_of_pages)
{
    fuse_tree();
    memset(file()->data, 'o', 20000);
    file()->size = 20000;
    S->flags |= FUSE_WRITEBACK_CACHE;
    fuse_mount("");
    int fd = OK(open("m/file", O_WRONLY));
    EQ(pwrite(fd, "11", 2, 4095), 2);
    EQ(pwrite(fd, "22", 2, 9000), 2);
    OK(close(fd));
    CHECK(!memcmp(file()->data + 4093, "oo11oo", 6));
    CHECK(!memcmp(file()->data + 8998, "oo22oo", 6));
    EQ(file()->size, 20000);
}
MAIN()

// Names that nobody uses may leave a kernel's cache at any time, path_resolution(7): what is in use goes on as it was. (Run with a cache of a few names.)
#define _GNU_SOURCE
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Looks at many names, so that all others are the oldest.
static void crowd_out(const char *at) {
	char name[200];
	snprintf(name, sizeof name, "%s/crowd", at);
	mkdir(name, 0700);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 60; i++) {
			struct stat st;
			snprintf(name, sizeof name, "%s/crowd/%d", at, i);
			if (round == 0) close(OK(open(name, O_CREAT | O_WRONLY, 0600)));
			OK(stat(name, &st));
			snprintf(name, sizeof name, "%s/crowd/none%d", at, i);
			FAILS(ENOENT, stat(name, &st));
		}
	}
}

TEST(a_working_folder_deep_inside_stays) {
	char top[200], here[300], wanted[300];
	CHECK(getcwd(top, sizeof top));
	OK(mkdir("a", 0700)); OK(mkdir("a/b", 0700)); OK(mkdir("a/b/c", 0700));
	OK(chdir("a/b/c"));
	crowd_out(top);
	CHECK(getcwd(here, sizeof here));
	snprintf(wanted, sizeof wanted, "%s/a/b/c", top);
	CHECK(strcmp(here, wanted) == 0);
	snprintf(here, sizeof here, "%s/a/moved", top);
	OK(rename("../../b", here));
	crowd_out(top);
	CHECK(getcwd(here, sizeof here));
	snprintf(wanted, sizeof wanted, "%s/a/moved/c", top);
	CHECK(strcmp(here, wanted) == 0);
	OK(mkdir("d", 0700));
	OK(access("../../moved/c/d", F_OK));
}

TEST(inode_numbers_and_hard_links_stay) {
	struct stat before, after;
	close(OK(open("one", O_CREAT | O_WRONLY, 0600)));
	OK(link("one", "two"));
	OK(stat("one", &before));
	crowd_out(".");
	OK(stat("two", &after));
	EQ(before.st_ino, after.st_ino);
	EQ(after.st_nlink, 2);
	OK(unlink("one"));
	crowd_out(".");
	OK(stat("two", &after));
	EQ(before.st_ino, after.st_ino);
	EQ(after.st_nlink, 1);
}

TEST(an_unlinked_open_file_stays) {
	char byte;
	int fd = OK(open("f", O_CREAT | O_RDWR, 0600));
	EQ(write(fd, "x", 1), 1);
	OK(unlink("f"));
	crowd_out(".");
	EQ(pread(fd, &byte, 1, 0), 1);
	EQ(byte, 'x');
	char link[300], path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = OK(readlink(path, link, sizeof link - 1));
	link[n] = 0;
	CHECK(strstr(link, "/f (deleted)"));
	FAILS(ENOENT, access("f", F_OK));
}

TEST(locks_of_an_open_file_stay) {
	int fd = OK(open("f", O_CREAT | O_RDWR, 0600));
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	OK(fcntl(fd, F_SETLK, &lock));
	crowd_out(".");
	pid_t child = OK(fork());
	if (child == 0) {
		struct flock other = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int mine = open("f", O_RDWR);
		_exit(mine >= 0 && fcntl(mine, F_SETLK, &other) == -1 && errno == EAGAIN ? 0 : 1);
	}
	int status;
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
}

TEST(a_socket_is_found_by_its_name) {
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int listener = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(bind(listener, (void *)&address, sizeof address));
	OK(listen(listener, 1));
	crowd_out(".");
	int client = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(connect(client, (void *)&address, sizeof address));
}

TEST(both_ends_of_a_fifo_meet) {
	char byte = 0;
	OK(mkfifo("fifo", 0600));
	pid_t child = OK(fork());
	if (child == 0) {
		int fd = open("fifo", O_WRONLY);
		_exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
	}
	crowd_out(".");
	int fd = OK(open("fifo", O_RDONLY));
	EQ(read(fd, &byte, 1), 1);
	EQ(byte, 'x');
	int status;
	OK(waitpid(child, &status, 0));
	EQ(status, 0);
}

TEST(a_watch_goes_on) {
	char buffer[4096];
	OK(mkdir("watched", 0700));
	close(OK(open("watched/old", O_CREAT | O_WRONLY, 0600)));
	int fd = OK(inotify_init1(IN_NONBLOCK));
	OK(inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE | IN_MODIFY));
	crowd_out(".");
	int file = OK(open("watched/old", O_WRONLY));
	EQ(write(file, "x", 1), 1);
	close(OK(open("watched/new", O_CREAT | O_WRONLY, 0600)));
	OK(unlink("watched/new"));
	uint32_t seen = 0;
	ssize_t n;
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (char *at = buffer; at < buffer + n; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len)
			seen |= ((struct inotify_event *)at)->mask;
	EQ(seen & (IN_CREATE | IN_DELETE | IN_MODIFY), IN_CREATE | IN_DELETE | IN_MODIFY);
}

TEST(permissions_and_times_stay) {
	struct stat st;
	struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };
	close(OK(open("f", O_CREAT | O_WRONLY, 0600)));
	OK(chmod("f", 0642));
	OK(utimensat(AT_FDCWD, "f", times, 0));
	OK(symlink("f", "link"));
	crowd_out(".");
	OK(stat("link", &st));
	EQ(st.st_mode & 07777, 0642);
	EQ(st.st_mtim.tv_sec, 2000);
	int count = 0;
	DIR *dir = opendir(".");
	CHECK(dir);
	for (struct dirent *entry; (entry = readdir(dir));) count++;
	EQ(count, 5);
	closedir(dir);
}

MAIN()

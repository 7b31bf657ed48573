/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "memory/memory.h"

/* Every test has an empty folder of its own as the working folder. */
static int enter(void **state)
{
	char *folder = strdup("/tmp/test-file-XXXXXX");

	*state = folder;
	return folder && mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
	char *folder = *state;
	DIR *dir = opendir(".");
	struct dirent *entry;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (unlink(entry->d_name) < 0 && entry->d_name[0] != '.')
			rmdir(entry->d_name);
	closedir(dir);
	if (chdir("/") < 0 || rmdir(folder) < 0)
		return -1;
	free(folder);
	return 0;
}

static size_t count_files(void)
{
	DIR *dir = opendir(".");
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void assert_content(const char *path, const char *expected)
{
	char *data cleanup(free_at) = NULL;
	size_t len;

	assert_int_equal(file_read(path, 1000, &data, &len, NULL), 0);
	assert_int_equal(len, strlen(expected));
	assert_string_equal(data, expected);
}

static void test_write_and_read(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(file_write("a", "one", 3, 0640, NULL), 0);
	assert_content("a", "one");
	assert_int_equal(file_write("./a", "", 0, 0600, NULL), 0);
	assert_content("a", "");
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(count_files(), 1);
}

static void test_mode_in_spite_of_umask(void **state)
{
	mode_t old = umask(077);
	struct stat st;

	(void)state;
	assert_int_equal(file_write("a", "x", 1, 0644, NULL), 0);
	umask(old);
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

static void test_write_replaces_a_link(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(file_write("target", "kept", 4, 0600, NULL), 0);
	assert_int_equal(symlink("target", "link"), 0);
	assert_int_equal(file_write("link", "new", 3, 0600, NULL), 0);
	assert_content("target", "kept");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void test_rewrite_keeps_what_others_made(void **state)
{
	struct err e = {0};
	struct stat st;

	(void)state;
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(file_write("folder/target", "old", 3, 0640, NULL), 0);
	if (geteuid() == 0)
		assert_int_equal(chown("folder/target", 1234, 5678), 0);
	assert_int_equal(symlink("folder/target", "link"), 0);
	assert_int_equal(scarce(file_rewrite("link", "new", 3, 0600, NULL)), 0);
	assert_content("folder/target", "new");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat("link", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, geteuid() == 0 ? 1234 : geteuid());
	assert_int_equal(st.st_gid, geteuid() == 0 ? 5678 : getegid());
	assert_int_equal(unlink("folder/target"), 0);
	/* Nothing is there, or no file. */
	assert_int_equal(file_rewrite("link", "a", 1, 0600, NULL), 0);
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0600);
	assert_int_equal(symlink("/dev/null", "null"), 0);
	assert_int_equal(file_rewrite("null", "a", 1, 0600, NULL), 0);
	assert_content("null", "a");
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_int_equal(file_rewrite("loop", "a", 1, 0600, &e), -ELOOP);
	assert_string_equal(e.text, "can't write loop: Too many levels of symbolic links");
}

static void test_failed_write_leaves_nothing(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(file_write("folder", "x", 1, 0600, &e), -EISDIR);
	assert_string_equal(e.text, "can't write folder: Is a directory");
	assert_int_equal(count_files(), 1);
	assert_int_equal(file_write("folder/", "x", 1, 0600, &e), -EISDIR);
	assert_int_equal(file_write("none/a", "x", 1, 0600, &e), -ENOENT);
}

static void test_read_is_bounded(void **state)
{
	struct err e = {0};
	char kept;
	char *data = &kept;
	size_t len = 7;

	(void)state;
	assert_int_equal(file_write("a", "12345", 5, 0600, NULL), 0);
	assert_int_equal(file_read("a", 4, &data, &len, &e), -EFBIG);
	assert_string_equal(e.text, "a is larger than 4 bytes");
	assert_int_equal(file_read("none", 4, &data, &len, &e), -ENOENT);
	assert_string_equal(e.text, "can't open none: No such file or directory");
	assert_int_equal(file_read(".", 4, &data, &len, NULL), -EISDIR);
	assert_ptr_equal(data, &kept);
	assert_int_equal(len, 7);
	assert_int_equal(file_read("a", 5, &data, &len, NULL), 0);
	assert_string_equal(data, "12345");
	free(data);
}

static void test_read_proc(void **state)
{
	int proc cleanup(fd_close_at) = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *data cleanup(free_at) = NULL;
	size_t len;

	(void)state;
	assert_int_equal(file_read_at(proc, "comm", 64, &data, &len, NULL), 0);
	assert_true(len > 1);
	assert_int_equal(data[len - 1], '\n');
	assert_int_equal(data[len], '\0');
}

static void test_remove(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(file_write("a", "x", 1, 0600, NULL), 0);
	assert_int_equal(file_remove("a", &e), 0);
	assert_int_equal(count_files(), 0);
	assert_int_equal(file_remove("a", &e), -ENOENT);
	assert_string_equal(e.text, "can't remove a: No such file or directory");
}

/* A folder that may be written to, but not read, has no descriptor to sync it by. */
static void test_sync_of_a_folder_that_is_not_readable(void **state)
{
	const uid_t nobody = geteuid() == 0 ? 65534 : geteuid();
	struct err e = {0};
	int code;

	(void)state;
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(chown("folder", nobody, (gid_t)-1), 0);
	assert_int_equal(chmod("folder", 0300), 0);
	assert_int_equal(chmod(".", 0711), 0);
	assert_int_equal(seteuid(nobody), 0);
	code = file_sync_folder("folder/x", &e);
	assert_int_equal(seteuid(getuid()), 0);
	assert_int_equal(code, 0);
	assert_string_equal(e.text, "");
	assert_int_equal(file_sync_folder("none/x", &e), -ENOENT);
	assert_string_equal(e.text, "can't sync the folder of none/x: No such file or directory");
}

static void test_folder_make(void **state)
{
	struct err e = {0};
	struct stat st;

	(void)state;
	assert_int_equal(folder_make("a//b/c/", 0755, &e), 0);
	assert_int_equal(stat("a/b/c", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(folder_make("a/b", 0755, &e), 0);
	assert_int_equal(file_write("a/file", "", 0, 0600, NULL), 0);
	assert_int_equal(folder_make("a/file", 0755, &e), -ENOTDIR);
	assert_string_equal(e.text, "can't make the folder a/file: Not a directory");
	assert_int_equal(folder_make("a/file/b", 0755, &e), -ENOTDIR);
	assert_int_equal(folder_make("", 0755, &e), -ENOENT);
	assert_int_equal(folder_make("/", 0755, &e), 0);
	unlink("a/file");
	rmdir("a/b/c");
	rmdir("a/b");
}

static void interrupt_handler(int signal)
{
	(void)signal;
}

/* Called before the wait: sees to it that the wait ends. */
static void interrupt_soon(void *data)
{
	(void)data;
	ualarm(10000, 10000);
}

static void release(void *data)
{
	int *fd = data;

	close(*fd);
	*fd = -1;
}

static void test_lock_waits(void **state)
{
	struct stat st;
	int first, second;

	(void)state;
	first = file_lock("lock", NULL, NULL, NULL);
	assert_true(first >= 0);
	assert_int_equal(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fstat(first, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	second = file_lock("lock", release, &first, NULL);
	assert_true(second >= 0);
	assert_int_equal(first, -1);
	close(second);
}

static void test_lock_can_be_interrupted(void **state)
{
	struct sigaction act = {.sa_handler = interrupt_handler}, old;
	struct err e = {0};
	int first = file_lock("lock", NULL, NULL, NULL);
	int second;

	(void)state;
	assert_true(first >= 0);
	assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
	second = file_lock("lock", interrupt_soon, NULL, &e);
	ualarm(0, 0);
	assert_int_equal(second, -EINTR);
	assert_string_equal(e.text, "can't lock lock: Interrupted system call");
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
	close(first);
}

static void test_lock_follows_no_link(void **state)
{
	(void)state;
	assert_int_equal(symlink("elsewhere", "lock"), 0);
	assert_int_equal(file_lock("lock", NULL, NULL, NULL), -ELOOP);
	assert_int_equal(count_files(), 1);
}

static void test_without_memory(void **state)
{
	char *data = NULL;
	size_t len;

	(void)state;
	assert_int_equal(scarce(file_write("a", "text", 4, 0600, NULL)), 0);
	assert_int_equal(scarce(file_read("a", 4, &data, &len, NULL)), 0);
	free(data);
	assert_int_equal(file_write("a", "", 0, 0600, NULL), 0);
	assert_int_equal(scarce(file_read("a", 4, &data, &len, NULL)), 0);
	free(data);
	assert_int_equal(scarce(folder_make("b", 0700, NULL)), 0);
	assert_int_equal(scarce(file_remove("a", NULL)), 0);
	assert_int_equal(count_files(), 1);
}

static int fifo;

static void write_late(int number)
{
	(void)number;
	(void)!write(fifo, "late", 4);
	close(fifo);
}

/* A signal in the middle of a read is no reason to give up. */
static void test_read_is_interrupted(void **state)
{
	struct sigaction act = {.sa_handler = write_late}, old;
	char *data cleanup(free_at) = NULL;
	size_t len;

	(void)state;
	assert_int_equal(mkfifo("fifo", 0600), 0);
	fifo = open("fifo", O_RDWR | O_CLOEXEC);
	assert_true(fifo >= 0);
	assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
	ualarm(10000, 0);
	assert_int_equal(file_read("fifo", 10, &data, &len, NULL), 0);
	assert_string_equal(data, "late");
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

/* No more than so much room, no more than so many descriptors: what was there stays. */
static void test_limits(void **state)
{
	struct rlimit old, small;
	struct err e = {0};
	int r, fd;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(file_write("a", "kept", 4, 0600, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = file_write("a", "other", 5, 0600, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_string_equal(e.text, "can't write a: File too large");

	fd = fcntl(0, F_DUPFD, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	small = old;
	small.rlim_cur = (rlim_t)fd + 1; /* for the folder */
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
	r = file_write("a", "other", 5, 0600, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(r, -EMFILE);
	assert_string_equal(e.text, "can't write a: Too many open files");
	assert_content("a", "kept");
	assert_int_equal(count_files(), 1);
}

/* A file system may know no locks. The last test, as that stays so in this process. */
static void test_no_locks(void **state)
{
	struct sock_filter refuse_flock[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_flock, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOLCK),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {COUNT(refuse_flock), refuse_flock};
	struct err e = {0};

	(void)state;
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
	assert_int_equal(file_lock("lock", NULL, NULL, &e), -ENOLCK);
	assert_string_equal(e.text, "can't lock lock: No locks available");
	assert_int_equal(file_try_lock("lock", &e), -ENOLCK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write_and_read),
		TEST(test_mode_in_spite_of_umask),
		TEST(test_write_replaces_a_link),
		TEST(test_rewrite_keeps_what_others_made),
		TEST(test_failed_write_leaves_nothing),
		TEST(test_read_is_bounded),
		TEST(test_read_proc),
		TEST(test_remove),
		TEST(test_sync_of_a_folder_that_is_not_readable),
		TEST(test_folder_make),
		TEST(test_lock_waits),
		TEST(test_lock_can_be_interrupted),
		TEST(test_lock_follows_no_link),
		TEST(test_without_memory),
		TEST(test_read_is_interrupted),
		TEST(test_limits),
		TEST(test_no_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

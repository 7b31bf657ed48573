/* SPDX-License-Identifier: MIT */
/* What a service tells systemd, at the other end of the socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "portmirrord/notify.h"

struct systemd {
	int fd;
	char name[64]; /* as NOTIFY_SOCKET has it */
	struct notify *notify;
};

/* A socket without a file: "@…" is a name that begins with a NUL. */
static int systemd_new(void **state)
{
	struct systemd *s = calloc(1, sizeof(*s));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len;

	assert_non_null(s);
	snprintf(s->name, sizeof(s->name), "@hostkit-test-notify-%d", (int)getpid());
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(s->name));
	memcpy(address.sun_path + 1, s->name + 1, strlen(s->name) - 1);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (const struct sockaddr *)&address, len), 0);
	*state = s;
	return 0;
}

static int systemd_end(void **state)
{
	struct systemd *s = *state;

	notify_close(s->notify);
	close(s->fd);
	free(s);
	return 0;
}

static void open_it(struct systemd *s)
{
	struct err e = {0};

	assert_int_equal(scarce(notify_open(s->name, &s->notify, &e)), 0);
}

/* The next message is this one; the descriptor that came with it, -1: none. */
static int heard(const struct systemd *s, const char *wanted)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char text[1024] = "";
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control.bytes)};
	const struct cmsghdr *header;
	int fd = -1;

	assert_true(recvmsg(s->fd, &message, MSG_CMSG_CLOEXEC) >= 0);
	assert_string_equal(text, wanted);
	header = CMSG_FIRSTHDR(&message);
	if (header) {
		assert_int_equal(header->cmsg_type, SCM_RIGHTS);
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	}
	return fd;
}

static void what_is_said_arrives(void **state)
{
	struct systemd *s = *state;

	open_it(s);
	notify_say(s->notify, "READY=1\nSTATUS=well");
	assert_int_equal(heard(s, "READY=1\nSTATUS=well"), -1);
	notify_forget(s->notify, "map-7");
	assert_int_equal(heard(s, "FDSTOREREMOVE=1\nFDNAME=map-7"), -1);
}

static void a_descriptor_goes_along(void **state)
{
	struct systemd *s = *state;
	int own = open("/dev/null", O_RDONLY | O_CLOEXEC), got;
	struct stat mine, its;

	open_it(s);
	notify_keep(s->notify, "program-7", own);
	got = heard(s, "FDSTORE=1\nFDPOLL=0\nFDNAME=program-7");
	assert_true(got >= 0 && got != own);
	assert_int_equal(fstat(own, &mine), 0);
	assert_int_equal(fstat(got, &its), 0);
	assert_true(mine.st_ino == its.st_ino && mine.st_rdev == its.st_rdev);
	close(own);
	close(got);
}

/* Nor does a closed socket matter: the service goes on. */
static void nobody_listens(void **state)
{
	struct systemd *s = *state;

	notify_say(NULL, "READY=1");
	notify_keep(NULL, "map-7", 0);
	notify_forget(NULL, "map-7");
	notify_close(NULL);
	open_it(s);
	shutdown(s->fd, SHUT_RDWR);
	notify_say(s->notify, "READY=1");
}

static void what_is_no_name_of_a_socket(void **state)
{
	char longest[109] = {0};
	const char *const wrong[] = {"", "/", "@", "run/notify", "vsock:2:1234", longest};
	struct notify *notify = NULL;
	struct err e;

	(void)state;
	memset(longest, '/', sizeof(longest) - 1);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		e = (struct err){0};
		assert_int_equal(notify_open(wrong[i], &notify, &e), -EINVAL);
		assert_non_null(strstr(e.text, "NOTIFY_SOCKET names no socket: "));
		assert_null(notify);
	}
	longest[sizeof(longest) - 2] = '\0';
	assert_int_equal(notify_open(longest, &notify, &e), 0);
	notify_close(notify);
}

static void no_descriptor_is_left(void **state)
{
	const struct systemd *s = *state;
	struct rlimit before, none;
	struct notify *notify = NULL;
	struct err e = {0};
	int r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = notify_open(s->name, &notify, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_string_equal(e.text, "can't open a socket to systemd: Too many open files");
	assert_null(notify);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, systemd_new, systemd_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_said_arrives),  TEST(a_descriptor_goes_along),
		TEST(nobody_listens),	     TEST(what_is_no_name_of_a_socket),
		TEST(no_descriptor_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

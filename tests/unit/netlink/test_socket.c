/* SPDX-License-Identifier: MIT */
/* What is sent at once, and what is made of the answers: a scripted kernel stands behind the
 * socket, in place of libc's sendto() and recvfrom(). */
#include "base/err.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/nl.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <setjmp.h>

#include <cmocka.h>

#define ANSWERS 80

static struct {
	/* Answers to what is sent with sendto(), or NULL: nothing is answered. */
	void (*answer)(const struct nlmsghdr *request);
	struct {
		char bytes[4096];
		size_t len;
		uint32_t from;
	} queue[ANSWERS];
	size_t first, end;
	size_t calls, messages, acks, most_bytes;
	int send_error; /* an errno for the next sendto() */
} kernel;

static void queue_add(const void *bytes, size_t len, uint32_t from)
{
	assert_true(kernel.end < ANSWERS && len <= sizeof(kernel.queue[0].bytes));
	memcpy(kernel.queue[kernel.end].bytes, bytes, len);
	kernel.queue[kernel.end].len = len;
	kernel.queue[kernel.end++].from = from;
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to,
	       socklen_t to_len)
{
	(void)fd, (void)flags, (void)to, (void)to_len;
	if (kernel.send_error) {
		errno = kernel.send_error;
		kernel.send_error = 0;
		return -1;
	}
	kernel.calls++;
	if (len > kernel.most_bytes)
		kernel.most_bytes = len;
	kernel.first = kernel.end = 0;
	for (size_t at = 0; at < len;) {
		const struct nlmsghdr *m = (const void *)((const char *)bytes + at);

		kernel.messages++;
		kernel.acks += (m->nlmsg_flags & NLM_F_ACK) != 0;
		if (kernel.answer)
			kernel.answer(m);
		at += (m->nlmsg_len + 3) & ~3U;
	}
	return (ssize_t)len;
}

ssize_t recvfrom(int fd, void *to, size_t room, int flags, struct sockaddr *from,
		 socklen_t *from_len)
{
	struct sockaddr_nl *address = (void *)from;

	(void)fd, (void)from_len;
	/* What would wait for ever has to be seen as a failure. */
	assert_true(kernel.first < kernel.end || (flags & MSG_DONTWAIT));
	if (kernel.first == kernel.end) {
		errno = EAGAIN;
		return -1;
	}
	assert_true(kernel.queue[kernel.first].len <= room);
	memcpy(to, kernel.queue[kernel.first].bytes, kernel.queue[kernel.first].len);
	*address = (struct sockaddr_nl){.nl_family = AF_NETLINK,
					.nl_pid = kernel.queue[kernel.first].from};
	return (ssize_t)kernel.queue[kernel.first++].len;
}

static void answer_error(const struct nlmsghdr *request, int code, const char *words, bool capped)
{
	char room[1024] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	size_t rest = request->nlmsg_len - sizeof(*request);
	struct nlmsgerr *error;

	m->nlmsg_type = NLMSG_ERROR;
	m->nlmsg_seq = request->nlmsg_seq;
	error = mnl_nlmsg_put_extra_header(m, sizeof(*error) + (capped ? 0 : rest));
	error->error = code;
	memcpy(&error->msg, request, capped ? sizeof(*request) : request->nlmsg_len);
	m->nlmsg_flags = capped ? NLM_F_CAPPED : 0;
	if (words) {
		m->nlmsg_flags |= NLM_F_ACK_TLVS;
		mnl_attr_put_strz(m, NLMSGERR_ATTR_MSG, words);
	}
	queue_add(m, m->nlmsg_len, 0);
}

static void answer_acks(const struct nlmsghdr *request)
{
	if (request->nlmsg_flags & NLM_F_ACK)
		answer_error(request, 0, NULL, true);
}

static void answer_refuse_all(const struct nlmsghdr *request)
{
	answer_error(request, -EPERM, "no, never", kernel.messages % 2 == 0);
}

/* An old answer, one of another process, one that is too short: then the true one. */
static void answer_noise(const struct nlmsghdr *request)
{
	struct nlmsghdr copy[2] = {*request, {0}};
	char cut[sizeof(struct nlmsghdr) + 4] __attribute__((aligned(4))) = {0};
	struct nlmsghdr *m = (void *)cut;

	copy[0].nlmsg_len = sizeof(copy[0]);
	copy[0].nlmsg_seq -= 5;
	answer_error(&copy[0], -EIO, "old", true);
	copy[0].nlmsg_seq += 5;
	answer_error(&copy[0], -EIO, "foreign", true);
	kernel.queue[kernel.end - 1].from = 4711;
	*m = (struct nlmsghdr){.nlmsg_len = sizeof(cut),
			       .nlmsg_type = NLMSG_ERROR,
			       .nlmsg_seq = request->nlmsg_seq - 1};
	queue_add(cut, sizeof(cut), 0);
	queue_add("short", 5, 0);
	answer_acks(request);
}

struct told {
	size_t count, next, with_words;
	int code;
};

static void refused(size_t message, int code, const char *words, void *data)
{
	struct told *told = data;

	assert_int_equal(message, told->next++);
	told->count++;
	told->code = code;
	told->with_words += strcmp(words, "no, never") == 0;
}

static struct nl *nl;

static int setup(void **state)
{
	(void)state;
	return nl_open(&nl, NULL);
}

static int teardown(void **state)
{
	(void)state;
	nl_close(nl);
	return 0;
}

static int reset(void **state)
{
	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	return 0;
}

static void test_one_acknowledgement_a_portion(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct told told = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		nl_put_brport(&b, i, BRPORT_ALL, 0);
	kernel.answer = answer_acks;
	for (int times = 1; times <= 2; times++) {
		assert_int_equal(nl_batch_send(nl, &b, refused, &told, NULL), 0);
		assert_int_equal(told.count, 0);
		assert_int_equal(kernel.messages, times * 1000);
		assert_int_equal(kernel.calls, times * 16);
		assert_int_equal(kernel.acks, kernel.calls);
	}
}

static void test_portions_by_bytes(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct nlmsghdr *m;
	void *body;

	(void)state;
	for (int i = 0; i < 10; i++) {
		m = nl_batch_begin(&b, RTM_NEWTFILTER, 0, i == 5 ? 60000 : 9000, &body);
		assert_non_null(m);
		nl_batch_end(&b, m);
	}
	kernel.answer = answer_acks;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, NULL), 0);
	assert_int_equal(kernel.messages, 10);
	/* 3 + 2, the long one alone, 3 + 1 */
	assert_int_equal(kernel.calls, 5);
	assert_int_equal(kernel.most_bytes, 60016);
}

static void test_all_refused(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct told told = {0};

	(void)state;
	for (int i = 0; i < 200; i++)
		nl_put_brport(&b, i, BRPORT_ALL, 0);
	kernel.answer = answer_refuse_all;
	assert_int_equal(nl_batch_send(nl, &b, refused, &told, NULL), 0);
	assert_int_equal(told.count, 200);
	assert_int_equal(told.with_words, 200);
	assert_int_equal(told.code, -EPERM);
}

static void test_noise(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct told told = {0};

	(void)state;
	nl_put_brport(&b, 1, BRPORT_ALL, 0);
	kernel.answer = answer_noise;
	assert_int_equal(nl_batch_send(nl, &b, refused, &told, NULL), 0);
	assert_int_equal(told.count, 0);
}

static void test_lost_answer(void **state)
{
	struct nl_batch b cleanup(nl_batch_free) = {0};
	struct err e = {0};

	(void)state;
	nl_put_brport(&b, 1, BRPORT_ALL, 0);
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), -ENOBUFS);
	assert_int_equal(e.code, -ENOBUFS);
	kernel.send_error = EPIPE;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), -EPIPE);
	kernel.answer = answer_acks;
	kernel.send_error = EINTR;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), 0);
}

static void test_empty_and_failed(void **state)
{
	struct nl_batch b = {0};

	(void)state;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, NULL), 0);
	b.failed = true;
	nl_put_brport(&b, 1, BRPORT_ALL, 0);
	assert_int_equal(b.count, 0);
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, NULL), -ENOMEM);
	assert_int_equal(kernel.calls, 0);
}

static void answer_link(const struct nlmsghdr *request, const char *name, int index, uint16_t flags)
{
	char room[256] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	struct ifinfomsg *body;

	m->nlmsg_type = RTM_NEWLINK;
	m->nlmsg_flags = NLM_F_MULTI | flags;
	m->nlmsg_seq = request->nlmsg_seq;
	body = mnl_nlmsg_put_extra_header(m, sizeof(*body));
	body->ifi_index = index;
	if (name)
		mnl_attr_put_strz(m, IFLA_IFNAME, name);
	queue_add(m, m->nlmsg_len, 0);
}

static void answer_done(const struct nlmsghdr *request, int code, const char *words)
{
	char room[256] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	int *at;

	m->nlmsg_type = NLMSG_DONE;
	m->nlmsg_flags = NLM_F_MULTI | (words ? NLM_F_ACK_TLVS : 0);
	m->nlmsg_seq = request->nlmsg_seq;
	at = mnl_nlmsg_put_extra_header(m, sizeof(*at));
	*at = code;
	if (words)
		mnl_attr_put_strz(m, NLMSGERR_ATTR_MSG, words);
	queue_add(m, m->nlmsg_len, 0);
}

static void answer_interrupted_twice(const struct nlmsghdr *request)
{
	answer_link(request, "later", 5, 0);
	answer_link(request, "first", 2, kernel.calls < 3 ? NLM_F_DUMP_INTR : 0);
	answer_done(request, 0, NULL);
}

static void answer_always_interrupted(const struct nlmsghdr *request)
{
	answer_link(request, "first", 1, NLM_F_DUMP_INTR);
	answer_done(request, 0, NULL);
}

static void answer_malformed(const struct nlmsghdr *request)
{
	answer_link(request, NULL, 1, 0);
	answer_link(request, "second", 2, 0);
	answer_done(request, 0, NULL);
}

static void answer_refused_dump(const struct nlmsghdr *request)
{
	answer_link(request, "first", 1, 0);
	answer_done(request, -EINVAL, "not so");
}

static void test_dump_is_asked_for_again(void **state)
{
	struct nl_links links cleanup(nl_links_free) = {0};

	(void)state;
	kernel.answer = answer_interrupted_twice;
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	assert_int_equal(kernel.calls, 3);
	assert_int_equal(links.count, 2);
	assert_string_equal(links.items[0].name, "first");
	assert_string_equal(nl_link_by_index(&links, 5)->name, "later");
	assert_null(nl_link_by_index(&links, 3));
	assert_int_equal(nl_link_by_name(&links, "first")->index, 2);
	assert_null(nl_link_by_name(&links, "nobody"));
}

static void test_dump_that_fails(void **state)
{
	struct nl_links links cleanup(nl_links_free) = {0};
	struct err e = {0};

	(void)state;
	assert_null(nl_link_by_index(&links, 1));
	kernel.answer = answer_interrupted_twice;
	assert_int_equal(nl_links(nl, &links, NULL), 0);
	kernel.answer = answer_always_interrupted;
	kernel.calls = 0;
	assert_int_equal(nl_links(nl, &links, &e), -EINTR);
	assert_int_equal(kernel.calls, NL_DUMP_TRIES);
	kernel.answer = answer_malformed;
	assert_int_equal(nl_links(nl, &links, &e), -EBADMSG);
	assert_int_equal(kernel.first, kernel.end); /* read to its end */
	kernel.answer = answer_refused_dump;
	assert_int_equal(nl_links(nl, &links, &e), -EINVAL);
	assert_string_equal(e.text, "listing the network devices: the kernel refuses: not so");
	assert_int_equal(links.count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_one_acknowledgement_a_portion, reset),
		cmocka_unit_test_setup(test_portions_by_bytes, reset),
		cmocka_unit_test_setup(test_all_refused, reset),
		cmocka_unit_test_setup(test_noise, reset),
		cmocka_unit_test_setup(test_lost_answer, reset),
		cmocka_unit_test_setup(test_empty_and_failed, reset),
		cmocka_unit_test_setup(test_dump_is_asked_for_again, reset),
		cmocka_unit_test_setup(test_dump_that_fails, reset),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

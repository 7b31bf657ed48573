/* SPDX-License-Identifier: MIT */
/* What is sent at once, and what is made of the answers: a scripted kernel stands behind the
 * socket, in place of libc's sendto() and recvfrom(). */
#include "base/err.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/monitor.h"
#include "netlink/nl.h"
#include "netlink/tc.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <setjmp.h>

#include <cmocka.h>

#include "memory/memory.h"

#define ANSWERS 80

static struct {
	/* Answers to what is sent with sendto(), or NULL: nothing is answered. */
	void (*answer)(const struct nlmsghdr *request);
	struct {
		char bytes[4096];
		size_t len; /* more than there are bytes: it does not fit */
		uint32_t from;
	} queue[ANSWERS];
	size_t first, end;
	size_t calls, messages, acks, most_bytes;
	int send_error; /* an errno for the next sendto() */
	int receive_error;
	int bind_error;
	bool unprivileged;
	int room; /* the receive buffer that was asked for without privilege */
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
	if (kernel.receive_error) {
		errno = kernel.receive_error;
		kernel.receive_error = 0;
		return -1;
	}
	/* What would wait for ever has to be seen as a failure. */
	assert_true(kernel.first < kernel.end || (flags & MSG_DONTWAIT));
	if (kernel.first == kernel.end) {
		errno = EAGAIN;
		return -1;
	}
	assert_true(kernel.queue[kernel.first].len <= room || (flags & MSG_TRUNC));
	if (kernel.queue[kernel.first].len <= room)
		memcpy(to, kernel.queue[kernel.first].bytes, kernel.queue[kernel.first].len);
	*address = (struct sockaddr_nl){.nl_family = AF_NETLINK,
					.nl_pid = kernel.queue[kernel.first].from};
	return (ssize_t)kernel.queue[kernel.first++].len;
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	(void)fd, (void)address, (void)len;
	if (kernel.bind_error == 0)
		return 0;
	errno = kernel.bind_error;
	return -1;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	(void)fd, (void)len;
	if (level != SOL_SOCKET)
		return 0;
	if (name == SO_RCVBUFFORCE && kernel.unprivileged) {
		errno = EPERM;
		return -1;
	}
	if (name == SO_RCVBUF)
		kernel.room = *(const int *)value;
	return 0;
}

static void queue_too_long(void)
{
	assert_true(kernel.end < ANSWERS);
	kernel.queue[kernel.end].len = 1 << 20;
	kernel.queue[kernel.end++].from = 0;
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

static void answer_too_long(const struct nlmsghdr *request)
{
	(void)request;
	queue_too_long();
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
	kernel.receive_error = EINTR;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), 0);
	kernel.receive_error = ENOBUFS;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), -ENOBUFS);
	kernel.answer = answer_too_long;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, &e), -EMSGSIZE);
}

static void test_empty_and_failed(void **state)
{
	static const uint8_t cookie[TC_COOKIE] = "portmirror:span";
	static const struct tc_rule rule = {.match = TC_MATCH_ALL};
	struct nl_batch b = {0};

	(void)state;
	assert_int_equal(nl_batch_send(nl, &b, NULL, NULL, NULL), 0);
	b.failed = true;
	nl_put_brport(&b, 1, BRPORT_ALL, 0);
	tc_put_qdisc_add(&b, 1, TC_H_ROOT, 0x10000, "prio");
	tc_put_qdisc_del(&b, 1, TC_H_ROOT, 0x10000, "prio");
	tc_put_filter(&b, &rule, false);
	tc_put_filter_del(&b, 1, TC_H_ROOT, 1, 3, 0, "matchall");
	tc_put_mirred(&b, 1, 2, cookie, false);
	tc_put_mirred_del(&b, 1);
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

static void answer_refused_without_words(const struct nlmsghdr *request)
{
	answer_done(request, -EINVAL, NULL);
}

static void answer_refused_dump(const struct nlmsghdr *request)
{
	answer_link(request, "first", 1, 0);
	answer_done(request, -EINVAL, "not so");
}

/* As kernels before extended acknowledgements end it. */
static void answer_done_without_code(const struct nlmsghdr *request)
{
	char room[64] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);

	answer_link(request, "first", 1, 0);
	m->nlmsg_type = NLMSG_DONE;
	m->nlmsg_flags = NLM_F_MULTI;
	m->nlmsg_seq = request->nlmsg_seq;
	queue_add(m, m->nlmsg_len, 0);
}

static void answer_half_an_error(const struct nlmsghdr *request)
{
	char room[64] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);

	m->nlmsg_type = NLMSG_ERROR;
	m->nlmsg_seq = request->nlmsg_seq;
	mnl_nlmsg_put_extra_header(m, sizeof(int));
	queue_add(m, m->nlmsg_len, 0);
}

static void answer_nothing(const struct nlmsghdr *request)
{
	(void)request;
	kernel.receive_error = ENOBUFS;
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
	assert_int_equal(scarce(nl_links(nl, &links, NULL)), 0);
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
	kernel.answer = answer_refused_without_words;
	assert_int_equal(nl_links(nl, &links, &e), -EINVAL);
	assert_string_equal(e.text,
			    "listing the network devices: the kernel refuses: Invalid argument");
	kernel.answer = answer_half_an_error;
	assert_int_equal(nl_links(nl, &links, &e), -EBADMSG);
	kernel.answer = answer_nothing; /* all of it is lost: its end is not waited for */
	assert_int_equal(nl_links(nl, &links, &e), -ENOBUFS);
	assert_string_equal(e.text, "listing the network devices: can't receive from the kernel: "
				    "No buffer space available");
	assert_int_equal(links.count, 2);
	kernel.answer = answer_done_without_code;
	assert_int_equal(nl_links(nl, &links, &e), 0);
	assert_int_equal(links.count, 1);
}

static void answer_u32(const struct nlmsghdr *request, uint32_t handle)
{
	char room[256] __attribute__((aligned(4)));
	struct nlmsghdr *m = mnl_nlmsg_put_header(room);
	struct tcmsg *body;

	m->nlmsg_type = RTM_NEWTFILTER;
	m->nlmsg_flags = NLM_F_MULTI;
	m->nlmsg_seq = request->nlmsg_seq;
	body = mnl_nlmsg_put_extra_header(m, sizeof(*body));
	body->tcm_ifindex = 7;
	body->tcm_handle = handle;
	body->tcm_info = TC_H_MAKE(1U << 16, 0x300);
	mnl_attr_put_strz(m, TCA_KIND, "u32");
	queue_add(m, m->nlmsg_len, 0);
}

/* Of the tables of two filters: which one is asked for, and refused with this code. */
static int root_code;

static void answer_two_tables(const struct nlmsghdr *request)
{
	const struct tcmsg *body = mnl_nlmsg_get_payload(request);

	if (!(request->nlmsg_flags & NLM_F_ACK)) {
		answer_u32(request, 0x80000800);
		answer_u32(request, 0x80100800);
		answer_done(request, 0, NULL);
	} else if (root_code < 0) {
		assert_int_equal(body->tcm_handle, TC_U32_ROOT);
		answer_error(request, root_code, NULL, true);
		if (root_code == -ENOENT)
			root_code = 0;
	} else {
		answer_u32(request, 0x80100000);
		answer_error(request, 0, NULL, true);
	}
}

/* A filter that has gone since it was listed is no reason to fail: it is listed again. */
static void test_filter_that_goes_while_it_is_listed(void **state)
{
	struct tc_filters filters cleanup(tc_filters_free) = {0};
	struct err e = {0};

	(void)state;
	kernel.answer = answer_two_tables;
	root_code = -ENOENT;
	assert_int_equal(tc_filters(nl, 7, TC_H_ROOT, &filters, &e), 0);
	assert_int_equal(kernel.calls, 4);
	assert_int_equal(filters.count, 1);
	assert_int_equal(filters.items[0].handle, 0x80100800);
	root_code = -EPERM;
	assert_int_equal(tc_filters(nl, 7, TC_H_ROOT, &filters, &e), -EPERM);
	assert_int_equal(filters.count, 1);
}

static void nl_monitor_close_at(struct nl_monitor **monitor)
{
	nl_monitor_close(*monitor);
}

static int count_news(const struct nl_news *news, void *data)
{
	int *count = data;

	++*count;
	return news->ifindex == 13 ? -ECANCELED : 0;
}

static void test_news(void **state)
{
	struct nl_monitor *monitor cleanup(nl_monitor_close_at) = NULL;
	static const struct nlmsghdr nobody = {0};
	struct err e = {0};
	int count = 0;

	(void)state;
	kernel.unprivileged = true;
	assert_int_equal(scarce(nl_monitor_open(&monitor, &e)), 0);
	assert_true(kernel.room >= 1 << 20);
	answer_link(&nobody, "first", 1, 0);
	answer_link(&nobody, "forged", 2, 0);
	kernel.queue[kernel.end - 1].from = 4711;
	answer_link(&nobody, "third", 3, 0);
	kernel.receive_error = EINTR;
	assert_int_equal(nl_monitor_take(monitor, count_news, &count, &e), 2);
	assert_int_equal(count, 2);
	answer_link(&nobody, NULL, 1, 0);
	assert_int_equal(nl_monitor_take(monitor, count_news, &count, &e), -EBADMSG);
	answer_link(&nobody, "unlucky", 13, 0);
	assert_int_equal(nl_monitor_take(monitor, count_news, &count, &e), -ECANCELED);
	queue_too_long();
	answer_link(&nobody, "behind", 4, 0);
	assert_int_equal(nl_monitor_take(monitor, count_news, &count, &e), -ENOBUFS);
	assert_int_equal(kernel.first, kernel.end); /* all is asked for anew */
	assert_int_equal(count, 3);
}

static void test_sockets_that_cannot_be_had(void **state)
{
	struct nl_monitor *monitor = NULL;
	struct nl *opened cleanup(nl_close_at) = NULL;
	struct err e = {0};

	(void)state;
	kernel.bind_error = ENOBUFS;
	assert_int_equal(nl_open(&opened, &e), -ENOBUFS);
	assert_int_equal(nl_monitor_open(&monitor, &e), -ENOBUFS);
	assert_true(!opened && !monitor);
	kernel.bind_error = 0;
	kernel.unprivileged = true;
	assert_int_equal(scarce(nl_open(&opened, &e)), 0);
	assert_true(kernel.room > 0);
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
		cmocka_unit_test_setup(test_filter_that_goes_while_it_is_listed, reset),
		cmocka_unit_test_setup(test_news, reset),
		cmocka_unit_test_setup(test_sockets_that_cannot_be_had, reset),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

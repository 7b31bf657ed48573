/* SPDX-License-Identifier: MIT */
#include "netlink/nl.h"

#include "base/err.h"
#include "base/mem.h"
#include "netlink/attr.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel fills up to 32 KiB of a dump into one datagram if the reader has room for it
 * (netlink_recvmsg() in net/netlink/af_netlink.c); a single message may be longer. */
#define RECEIVE_ROOM 65536

/* What is sent at once. The answers wait in the socket until they are read, and each one takes
 * up to 2.5 KiB of its receive buffer: 64 of them stay below the default of 208 KiB, and far
 * below ANSWERS_ROOM. */
#define PORTION_MESSAGES 64
#define PORTION_BYTES	 32768
#define ANSWERS_ROOM	 (1 << 20)

struct nl {
	struct mnl_socket *socket;
	uint32_t seq; /* of the last message sent */
	char buffer[RECEIVE_ROOM] __attribute__((aligned(8)));
};

int nl_open(struct nl **nl, struct err *e)
{
	struct nl *made cleanup(nl_close_at) = calloc(1, sizeof(*made));
	int on = 1, room = ANSWERS_ROOM;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!made->socket || mnl_socket_bind(made->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_sys(e, -errno, "can't open a netlink socket");

	/* A kernel that lacks one of these (the newest is NETLINK_GET_STRICT_CHK, 4.20) answers
	 * with fewer words, or with more than was asked for. */
	mnl_socket_setsockopt(made->socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(made->socket, NETLINK_CAP_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(made->socket, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (setsockopt(mnl_socket_get_fd(made->socket), SOL_SOCKET, SO_RCVBUFFORCE, &room,
		       sizeof(room)) < 0)
		setsockopt(mnl_socket_get_fd(made->socket), SOL_SOCKET, SO_RCVBUF, &room,
			   sizeof(room));
	*nl = take(made);
	return 0;
}

void nl_close(struct nl *nl)
{
	if (!nl)
		return;
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl);
}

void nl_close_at(struct nl **nl)
{
	nl_close(*nl);
}

uint32_t nl_port(const struct nl *nl)
{
	return mnl_socket_get_portid(nl->socket);
}

static int send_all(struct nl *nl, const void *bytes, size_t len, struct err *e)
{
	ssize_t sent;

	do
		sent = mnl_socket_sendto(nl->socket, bytes, len);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return err_sys(e, -errno, "can't send to the kernel");
	return 0;
}

/* The next datagram of the kernel's, into nl->buffer. Returns its length or a negative errno. */
static ssize_t receive(struct nl *nl, int flags)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof(from);
		ssize_t got =
			recvfrom(mnl_socket_get_fd(nl->socket), nl->buffer, sizeof(nl->buffer),
				 flags | MSG_TRUNC, (struct sockaddr *)&from, &len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (from.nl_pid != 0)
			continue;
		if ((size_t)got > sizeof(nl->buffer))
			return -EMSGSIZE;
		return got;
	}
}

/* The sentence of an extended acknowledgement; "" where there is none. */
static const char *words_in(const struct nlmsghdr *message, size_t header)
{
	static const uint8_t wanted[NLMSGERR_ATTR_MSG + 1] = {[NLMSGERR_ATTR_MSG] = AT_LEAST(1)};
	const struct nlattr *at[COUNT(wanted)];

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    attr_table(attrs_of(message, header), wanted, at, COUNT(at)) < 0 ||
	    !at[NLMSGERR_ATTR_MSG] ||
	    mnl_attr_validate(at[NLMSGERR_ATTR_MSG], MNL_TYPE_NUL_STRING) < 0)
		return "";
	return mnl_attr_get_str(at[NLMSGERR_ATTR_MSG]);
}

/* The code and the words of an NLMSG_ERROR or NLMSG_DONE; words live in the message. */
static int answer_read(const struct nlmsghdr *message, const char **words)
{
	size_t len = mnl_nlmsg_get_payload_len(message), header;
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	*words = "";
	if (message->nlmsg_type == NLMSG_DONE) {
		/* The code came with the extended acknowledgements; rtnetlink always sends it. */
		if (len < sizeof(int))
			return 0;
		*words = words_in(message, sizeof(int));
		return *(const int *)mnl_nlmsg_get_payload(message);
	}
	if (len < sizeof(*error))
		return -EBADMSG;
	header = sizeof(*error);
	/* Without NETLINK_CAP_ACK an error carries the whole request. */
	if (error->error != 0 && !(message->nlmsg_flags & NLM_F_CAPPED) &&
	    error->msg.nlmsg_len >= sizeof(error->msg))
		header += error->msg.nlmsg_len - sizeof(error->msg);
	*words = words_in(message, header);
	return error->error;
}

struct dump {
	uint32_t seq;
	int (*each)(const struct nlmsghdr *message, void *data);
	void *data;
	bool interrupted;
	bool ended;
	int code; /* what the kernel or each() failed with */
	struct err *e;
};

static void dump_message(struct dump *d, const struct nlmsghdr *message)
{
	const char *words;
	int code;

	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		d->interrupted = true;
	if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
		d->ended = true;
		code = answer_read(message, &words);
		if (code >= 0 || d->code < 0)
			return;
		d->code = code;
		if (*words)
			err_set(d->e, code, "the kernel refuses: %s", words);
		else
			err_sys(d->e, code, "the kernel refuses");
	} else if (message->nlmsg_type >= NLMSG_MIN_TYPE && d->code == 0 && !d->interrupted) {
		d->code = d->each(message, d->data);
		if (d->code < 0)
			err_sys(d->e, d->code, "can't read what the kernel says");
	}
}

int nl_dump(struct nl *nl, struct nlmsghdr *request,
	    int (*each)(const struct nlmsghdr *message, void *data), void *data, struct err *e)
{
	struct dump d = {.seq = ++nl->seq, .each = each, .data = data, .e = e};
	bool lost = false;
	int rc;

	request->nlmsg_seq = d.seq;
	request->nlmsg_pid = 0;
	rc = send_all(nl, request, request->nlmsg_len, e);
	if (rc < 0)
		return rc;
	/* Read to the end whatever happens: the socket can't start another dump before. Behind a
	 * part that was lost the end may be lost too; what is there is there at once. */
	while (!d.ended) {
		const struct nlmsghdr *m = (const void *)nl->buffer;
		ssize_t got = receive(nl, lost ? MSG_DONTWAIT : 0);
		int left = (int)got;

		if (got < 0 && d.code == 0)
			d.code = err_sys(e, (int)got, "can't receive from the kernel");
		if (got < 0 && lost)
			break;
		lost |= got < 0;
		for (; mnl_nlmsg_ok(m, left) && !d.ended; m = mnl_nlmsg_next(m, &left))
			if (m->nlmsg_seq == d.seq)
				dump_message(&d, m);
	}
	if (d.code == 0 && d.interrupted)
		return err_set(e, -EINTR, "it changed while the kernel listed it");
	return d.code;
}

void nl_batch_free(struct nl_batch *b)
{
	free(b->data);
	*b = (struct nl_batch){0};
}

static bool batch_room(struct nl_batch *b, size_t more)
{
	size_t room = b->room ? b->room : NL_MESSAGE_MAX;
	char *grown;

	if (b->room - b->len >= more)
		return true;
	while (room - b->len < more)
		room *= 2;
	grown = realloc(b->data, room);
	if (!grown)
		return false;
	b->data = grown;
	b->room = room;
	return true;
}

struct nlmsghdr *nl_batch_begin(struct nl_batch *b, uint16_t type, uint16_t flags, size_t extra,
				void **body)
{
	struct nlmsghdr *message;

	if (b->failed || !batch_room(b, NL_MESSAGE_MAX)) {
		b->failed = true;
		return NULL;
	}
	message = mnl_nlmsg_put_header(b->data + b->len);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	*body = mnl_nlmsg_put_extra_header(message, extra);
	return message;
}

void nl_batch_end(struct nl_batch *b, struct nlmsghdr *message)
{
	b->len += nl_align(message->nlmsg_len);
	b->count++;
}

/*
 * A part of a batch that goes to the kernel in one system call. Only its last message asks for
 * an acknowledgement: the kernel carries the messages out in order and reports those that it
 * refuses anyway.
 */
struct portion {
	size_t first, count; /* messages */
	size_t len;	     /* bytes */
	uint32_t seq;	     /* of the first message; the others count on from there */
};

static void portion_mark(struct nl *nl, char *data, size_t len, struct portion *p)
{
	struct nlmsghdr *last = NULL;

	p->first += p->count;
	p->count = p->len = 0;
	p->seq = nl->seq + 1;
	while (p->len < len && p->count < PORTION_MESSAGES) {
		struct nlmsghdr *message = (void *)(data + p->len);
		size_t step = nl_align(message->nlmsg_len);

		if (last && p->len + step > PORTION_BYTES)
			break;
		message->nlmsg_seq = ++nl->seq;
		message->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
		p->len += step;
		p->count++;
		last = message;
	}
	if (last)
		last->nlmsg_flags |= NLM_F_ACK;
}

struct refusals {
	void (*told)(size_t message, int code, const char *words, void *data);
	void *data;
};

/* True where the answer is the one to the portion's last message. */
static bool portion_answer(const struct portion *p, const struct nlmsghdr *message,
			   const struct refusals *r)
{
	uint32_t i = message->nlmsg_seq - p->seq;
	const char *words;
	int code;

	if (message->nlmsg_type != NLMSG_ERROR || i >= p->count)
		return false;
	code = answer_read(message, &words);
	if (code < 0 && r->told)
		r->told(p->first + i, code, words, r->data);
	return i == p->count - 1;
}

/* rtnetlink works before send() returns, so all answers are there already; one that is not has
 * been lost, and waiting for it would be for ever. */
static int portion_answers(struct nl *nl, const struct portion *p, const struct refusals *r,
			   struct err *e)
{
	for (;;) {
		const struct nlmsghdr *m = (const void *)nl->buffer;
		ssize_t got = receive(nl, MSG_DONTWAIT);
		int left = (int)got;

		if (got == -EAGAIN)
			return err_set(e, -ENOBUFS, "the kernel's answer was lost");
		if (got < 0)
			return err_sys(e, (int)got, "can't receive from the kernel");
		for (; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left))
			if (portion_answer(p, m, r))
				return 0;
	}
}

int nl_batch_send(struct nl *nl, const struct nl_batch *b,
		  void (*refused)(size_t message, int code, const char *words, void *data),
		  void *data, struct err *e)
{
	struct refusals refusals = {refused, data};
	struct portion portion = {0};
	int rc;

	if (b->failed)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t at = 0; at < b->len; at += portion.len) {
		portion_mark(nl, b->data + at, b->len - at, &portion);
		rc = send_all(nl, b->data + at, portion.len, e);
		if (rc == 0)
			rc = portion_answers(nl, &portion, &refusals, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

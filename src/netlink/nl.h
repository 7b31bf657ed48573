/* SPDX-License-Identifier: MIT */
/*
 * rtnetlink as portmirror needs it: a socket, tables of what the kernel has, and messages that
 * change it. Building a message is apart from sending it, so tests read messages back without a
 * kernel. libmnl does the framing.
 */
#ifndef NETLINK_NL_H
#define NETLINK_NL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct nl;
struct nlmsghdr;

/* A NETLINK_ROUTE socket with extended acknowledgements; strict checking where the kernel has it.
 * Returns 0 and the socket in *nl, to be closed with nl_close(). */
int nl_open(struct nl **nl, struct err *e);
void nl_close(struct nl *nl);
void nl_close_at(struct nl **nl); /* for cleanup() */
/* What the kernel calls this socket: it stands in the messages that tell others of our changes. */
uint32_t nl_port(const struct nl *nl);

/*
 * Sends a dump request and calls each() for every message of the answer. A dump that the kernel
 * marks as interrupted (NLM_F_DUMP_INTR) is asked for again by the callers, which get -EINTR.
 * each() returns 0 to go on or a negative errno, which ends the dump and is returned. A request
 * for a single object has NLM_F_ACK in place of NLM_F_DUMP.
 */
#define NL_DUMP_TRIES 10 /* how often the typed dumps ask before they return -EINTR */
int nl_dump(struct nl *nl, struct nlmsghdr *request,
	    int (*each)(const struct nlmsghdr *message, void *data), void *data, struct err *e);

/* Messages to be sent together. Zero-initialise it. */
struct nl_batch {
	char *data;
	size_t len;
	size_t room;
	size_t count;
	bool failed; /* out of memory; told by nl_batch_send() */
};

void nl_batch_free(struct nl_batch *b); /* also for cleanup() */
/* A new message at the end of the batch with an empty body of extra bytes (zeroed, to be filled
 * by the caller), NLM_F_REQUEST and the given flags. At most NL_MESSAGE_MAX bytes may be put into
 * one message. NULL: out of memory, remembered. Ended by nl_batch_end(). */
#define NL_MESSAGE_MAX 65536
struct nlmsghdr *nl_batch_begin(struct nl_batch *b, uint16_t type, uint16_t flags, size_t extra,
				void **body);
void nl_batch_end(struct nl_batch *b, struct nlmsghdr *message);

/*
 * Sends all messages, in as few system calls as the socket's buffers allow, and waits for their
 * acknowledgements. refused(i, code, words) is called once for every message i that the kernel
 * refused (code is a negative errno, words the extended acknowledgement's sentence or "").
 * Messages behind a refused one are carried out all the same. Returns 0, or -errno where the
 * socket itself failed.
 */
int nl_batch_send(struct nl *nl, const struct nl_batch *b,
		  void (*refused)(size_t message, int code, const char *words, void *data),
		  void *data, struct err *e);

#endif

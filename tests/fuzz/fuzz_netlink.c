/* SPDX-License-Identifier: MIT */
/* The kernel's answers, cut and bent: every reader of one message. */
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netlink/link.h"
#include "netlink/tc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tc_actions actions = {0};
	struct tc_filter filter;
	struct tc_qdisc qdisc;
	struct nl_link link;
	struct nlmsghdr *message;

	if (len < sizeof(*message))
		return 0;
	message = malloc(len); /* of just this size, so that a byte too far is seen */
	if (!message)
		return 0;
	memcpy(message, data, len);
	message->nlmsg_len = (uint32_t)len;
	nl_link_read(message, &link);
	tc_qdisc_read(message, &qdisc);
	tc_filter_read(message, &filter);
	tc_actions_read(message, &actions);
	tc_actions_free(&actions);
	free(message);
	return 0;
}

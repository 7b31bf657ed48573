/* SPDX-License-Identifier: MIT */
#include "netlink/attr.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct attrs attrs_of(const struct nlmsghdr *message, size_t header)
{
	size_t before = sizeof(*message) + nl_align(header);

	if (message->nlmsg_len <= before)
		return (struct attrs){NULL, 0};
	return (struct attrs){(const char *)message + before, message->nlmsg_len - before};
}

struct attrs attrs_in(const struct nlattr *nest)
{
	if (!nest)
		return (struct attrs){NULL, 0};
	return (struct attrs){mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest)};
}

int attr_next(struct attrs *attrs, const struct nlattr **attr)
{
	const struct nlattr *next = (const void *)attrs->at;
	size_t step;

	if (attrs->left == 0)
		return 0;
	if (attrs->left > INT_MAX || !mnl_attr_ok(next, (int)attrs->left))
		return -EBADMSG;
	step = nl_align(next->nla_len);
	if (step > attrs->left)
		step = attrs->left;
	attrs->at += step;
	attrs->left -= step;
	*attr = next;
	return 1;
}

int attr_table(struct attrs attrs, const uint8_t *wanted, const struct nlattr **at, size_t n)
{
	const struct nlattr *attr;
	int rc;

	for (size_t i = 0; i < n; i++)
		at[i] = NULL;
	while ((rc = attr_next(&attrs, &attr)) > 0) {
		size_t type = mnl_attr_get_type(attr);

		if (type >= n || wanted[type] == 0)
			continue;
		if (AT_LEAST(0) + mnl_attr_get_payload_len(attr) < wanted[type])
			return -EBADMSG;
		at[type] = attr;
	}
	return rc;
}

void attr_bytes(const struct nlattr *attr, void *to, size_t size)
{
	size_t len;

	if (!attr)
		return;
	len = mnl_attr_get_payload_len(attr);
	memcpy(to, mnl_attr_get_payload(attr), len < size ? len : size);
}

void attr_u8(const struct nlattr *attr, uint8_t *value)
{
	attr_bytes(attr, value, sizeof(*value));
}

void attr_u32(const struct nlattr *attr, uint32_t *value)
{
	attr_bytes(attr, value, sizeof(*value));
}

void attr_u64(const struct nlattr *attr, uint64_t *value)
{
	attr_bytes(attr, value, sizeof(*value));
}

int attr_text(const struct nlattr *attr, char *to, size_t room)
{
	const char *text;
	size_t len;

	if (!attr)
		return 0;
	text = mnl_attr_get_payload(attr);
	len = strnlen(text, mnl_attr_get_payload_len(attr));
	if (len == mnl_attr_get_payload_len(attr))
		return -EBADMSG;
	if (len >= room)
		len = room - 1;
	memcpy(to, text, len);
	to[len] = '\0';
	return 0;
}

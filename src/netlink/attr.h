/* SPDX-License-Identifier: MIT */
/* Attributes of a netlink message: their lengths are checked before anything in them is read. */
#ifndef NETLINK_ATTR_H
#define NETLINK_ATTR_H

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

/* MNL_ALIGN() and MNL_NLMSG_HDRLEN are signed. */
static inline size_t nl_align(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* Attributes one after the other, not yet checked. */
struct attrs {
	const char *at;
	size_t left;
};

struct attrs attrs_of(const struct nlmsghdr *message, size_t header);
struct attrs attrs_in(const struct nlattr *nest);

/* Takes the next attribute: 1; 0 at the end; -EBADMSG where its length is impossible. */
int attr_next(struct attrs *attrs, const struct nlattr **attr);

/*
 * Sorts attributes by their type into at[]: those wanted[] has a length for, with at least so
 * many bytes. A missing one is NULL. -EBADMSG where one is too short.
 */
#define AT_LEAST(bytes) ((uint8_t)((bytes) + 1))
int attr_table(struct attrs attrs, const uint8_t *wanted, const struct nlattr **at, size_t n);

/* The values. A missing attribute (NULL) leaves *value as it is. */
void attr_u8(const struct nlattr *attr, uint8_t *value);
void attr_u32(const struct nlattr *attr, uint32_t *value);
void attr_u64(const struct nlattr *attr, uint64_t *value);

/* As many bytes as there are, size at most; the others stay as they are. */
void attr_bytes(const struct nlattr *attr, void *to, size_t size);

/* The text, cut to what fits, always ended; -EBADMSG where it holds no NUL. */
int attr_text(const struct nlattr *attr, char *to, size_t room);

#endif

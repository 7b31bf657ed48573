/* SPDX-License-Identifier: MIT */
/*
 * LD_PRELOAD: a kernel that lacks a part of traffic control. LACKS="bpf matchall" changes those
 * kinds in every netlink message to names that no kernel has, so that the real kernel answers in
 * its own words. Both are as long, so nothing else of a message changes.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef ssize_t (*sendto_function)(int, const void *, size_t, int, const struct sockaddr *,
				   socklen_t);

/* Turns the kind's last letter into an underscore, wherever it stands as a whole attribute. */
static void take_away(char *message, size_t len, const char *kind, size_t kind_len)
{
	for (size_t i = 4; i + kind_len < len; i++) {
		unsigned char head[2] = {(unsigned char)message[i - 4],
					 (unsigned char)message[i - 3]};

		if (memcmp(message + i, kind, kind_len) == 0 && message[i + kind_len] == '\0' &&
		    head[0] == kind_len + 5 && head[1] == 0)
			message[i + kind_len - 1] = '_';
	}
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
	       socklen_t to_len)
{
	sendto_function real;
	void *symbol = dlsym(RTLD_NEXT, "sendto");
	const char *lacks = getenv("LACKS");
	char *copy;
	ssize_t r;

	memcpy(&real, &symbol, sizeof(real));
	if (!lacks || !to || to->sa_family != AF_NETLINK)
		return real(fd, data, len, flags, to, to_len);
	copy = malloc(len);
	if (!copy)
		abort();
	memcpy(copy, data, len);
	while (*lacks) {
		size_t kind_len = strcspn(lacks, " ");

		take_away(copy, len, lacks, kind_len);
		lacks += kind_len + (lacks[kind_len] == ' ');
	}
	r = real(fd, copy, len, flags, to, to_len);
	free(copy);
	return r;
}

/* SPDX-License-Identifier: MIT */
/*
 * ask PATH CONNECTIONS SECONDS: sends the HTTP request that it reads from stdin to a Unix socket,
 * on so many connections at once, each again as soon as its answer is there. Prints the answers,
 * the seconds, and the median, the 99th percentile and the maximum of the times in microseconds.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1000000 };

struct connection {
	int fd;
	int64_t asked;
	size_t have;
	char answer[65536];
};

static char request[16384];
static size_t request_len;
static uint32_t times[SLOTS]; /* how many answers took so many microseconds */

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void ask(struct connection *c)
{
	c->asked = now();
	c->have = 0;
	if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		fail("send");
}

/* Whether the answer is whole; it must be a 200. */
static bool is_whole(struct connection *c)
{
	const char *end, *length;

	c->answer[c->have] = '\0';
	end = strstr(c->answer, "\r\n\r\n");
	if (!end)
		return false;
	length = strcasestr(c->answer, "\r\nContent-Length: ");
	if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0 || !length) {
		fprintf(stderr, "%s\n", c->answer);
		exit(1);
	}
	return c->have >= (size_t)(end - c->answer) + 4 + strtoul(length + 18, NULL, 10);
}

static void on_input(struct connection *c, uint64_t *answers)
{
	ssize_t n = recv(c->fd, c->answer + c->have, sizeof(c->answer) - 1 - c->have, 0);
	int64_t took;

	if (n <= 0)
		fail("the server hung up");
	c->have += (size_t)n;
	if (!is_whole(c))
		return;
	took = now() - c->asked;
	times[took < SLOTS ? took : SLOTS - 1]++;
	++*answers;
	ask(c);
}

/* The time that this share of the answers took at most. */
static int percentile(uint64_t answers, double share)
{
	uint64_t sum = 0;

	for (int i = 0; i < SLOTS; i++) {
		sum += times[i];
		if (sum > 0 && (double)sum >= share * (double)answers)
			return i;
	}
	return SLOTS;
}

static void connect_to(const char *path, struct connection *c, int epoll)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		fail(path);
	ask(c);
}

int main(int argc, char **argv)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), count;
	struct epoll_event events[64];
	struct connection *all;
	uint64_t answers = 0;
	int64_t start, end;

	if (argc != 4)
		return 2;
	count = atoi(argv[2]);
	request_len = fread(request, 1, sizeof(request), stdin);
	all = calloc((size_t)count, sizeof(*all));
	if (!all || epoll < 0)
		fail("start");
	start = now();
	end = start + (int64_t)(strtod(argv[3], NULL) * 1e6);
	for (int i = 0; i < count; i++)
		connect_to(argv[1], &all[i], epoll);
	while (now() < end) {
		int n = epoll_wait(epoll, events, 64, 1000);

		for (int i = 0; i < n; i++)
			on_input(events[i].data.ptr, &answers);
	}
	printf("%lu %.6f %d %d %d\n", (unsigned long)answers, (double)(now() - start) / 1e6,
	       percentile(answers, 0.5), percentile(answers, 0.99), percentile(answers, 1));
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * hello BYTES [PATH]: libmicrohttpd alone, with its own thread and epoll, and one answer of so many
 * bytes for everything: the upper bound of whatever is built on it. It listens at a Unix socket, or
 * at a port of the loopback that it prints.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct MHD_Response *response;

static enum MHD_Result answer(void *data, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_len, void **context)
{
	static int begun;

	(void)data, (void)url, (void)method, (void)version, (void)upload, (void)upload_len;
	if (!*context) {
		*context = &begun;
		return MHD_YES;
	}
	return MHD_queue_response(connection, 200, response);
}

int main(int argc, char **argv)
{
	struct sockaddr_in loopback = {.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(loopback);
	size_t bytes;
	char *body;
	int fd;

	if (argc < 2)
		return 2;
	bytes = strtoul(argv[1], NULL, 10);
	body = malloc(bytes);
	if (!body)
		return 1;
	memset(body, 'x', bytes);
	if (argc > 2)
		(void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", argv[2]);
	fd = socket(argc > 2 ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(fd, argc > 2 ? (void *)&local : (void *)&loopback,
		 argc > 2 ? sizeof(local) : sizeof(loopback)) < 0 ||
	    listen(fd, 100) < 0) {
		perror("hello");
		return 1;
	}
	if (argc == 2)
		getsockname(fd, (struct sockaddr *)&loopback, &len);
	response = MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_PERSISTENT);
	if (!MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL,
			      MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_END))
		return 1;
	printf("%u\n", ntohs(loopback.sin_port));
	fflush(stdout);
	pause();
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "rest/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

#define ASCII_DIGITS  "0123456789"
#define ASCII_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* A port in decimal, to the end of the text. */
static bool read_port(const char *text, in_port_t *port)
{
	unsigned value = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 5 || strspn(text, ASCII_DIGITS) != len)
		return false;
	for (; *text; text++)
		value = value * 10 + (unsigned)(*text - '0');
	if (value > UINT16_MAX)
		return false;
	*port = htons((uint16_t)value);
	return true;
}

static int read_unix(const char *path, struct where *where, struct err *e)
{
	struct sockaddr_un *to = &where->address.local;

	if (path[0] != '/')
		return err_set(e, -EINVAL, "unix:%s: a path from / on is needed", path);
	if (strlen(path) >= sizeof(to->sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "unix:%s: the path of a socket has at most %zu bytes", path,
			       sizeof(to->sun_path) - 1);
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, path, strlen(path) + 1);
	where->len = sizeof(*to);
	return 0;
}

static bool read_tcp(const char *text, struct where *where)
{
	struct sockaddr_in6 *six = &where->address.ipv6;
	struct sockaddr_in *four = &where->address.ipv4;
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
	char digits[INET6_ADDRSTRLEN];
	in_port_t port;

	if (brackets) {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(digits) || !read_port(colon + 1, &port))
		return false;
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)len, text);
	if (brackets) {
		six->sin6_family = AF_INET6;
		six->sin6_port = port;
		where->len = sizeof(*six);
		return inet_pton(AF_INET6, digits, &six->sin6_addr) == 1;
	}
	four->sin_family = AF_INET;
	four->sin_port = port;
	where->len = sizeof(*four);
	return inet_pton(AF_INET, digits, &four->sin_addr) == 1;
}

int where_read(const char *text, struct where *where, struct err *e)
{
	struct where read = {0};

	if (strncmp(text, "unix:", 5) == 0) {
		int r = read_unix(text + 5, &read, e);

		if (r < 0)
			return r;
	} else if (strncmp(text, "tcp:", 4) != 0 || !read_tcp(text + 4, &read)) {
		return err_set(e, -EINVAL,
			       "'%s' is no place to listen at: give unix:PATH, "
			       "tcp:ADDRESS:PORT or tcp:[ADDRESS]:PORT, with the address in digits",
			       text);
	}
	*where = read;
	return 0;
}

/* An IPv4 address that came through an IPv6 socket is what it was. */
static bool as_ipv4(const struct sockaddr *address, struct in_addr *ipv4)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;

	if (address->sa_family == AF_INET) {
		*ipv4 = ((const struct sockaddr_in *)(const void *)address)->sin_addr;
		return true;
	}
	if (address->sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return false;
	memcpy(ipv4, &six->sin6_addr.s6_addr[12], sizeof(*ipv4));
	return true;
}

static bool is_loopback4(struct in_addr address)
{
	return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool where_is_here(const struct where *where)
{
	struct in_addr ipv4;

	if (where->address.any.sa_family == AF_UNIX)
		return true;
	if (as_ipv4(&where->address.any, &ipv4))
		return is_loopback4(ipv4);
	return where->address.any.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&where->address.ipv6.sin6_addr);
}

const char *where_text(const struct where *where, char text[WHERE_TEXT])
{
	const struct sockaddr_in6 *six = &where->address.ipv6;
	const struct sockaddr_in *four = &where->address.ipv4;
	char digits[INET6_ADDRSTRLEN] = "";

	if (where->address.any.sa_family == AF_UNIX)
		(void)snprintf(text, WHERE_TEXT, "unix:%s", where->address.local.sun_path);
	else if (where->address.any.sa_family == AF_INET)
		(void)snprintf(text, WHERE_TEXT, "tcp:%s:%u",
			       inet_ntop(AF_INET, &four->sin_addr, digits, sizeof(digits)),
			       ntohs(four->sin_port));
	else
		(void)snprintf(text, WHERE_TEXT, "tcp:[%s]:%u",
			       inet_ntop(AF_INET6, &six->sin6_addr, digits, sizeof(digits)),
			       ntohs(six->sin6_port));
	return text;
}

bool host_read(const char *host, char name[HOST_NAME])
{
	const char *end, *from = host;
	struct in6_addr six;
	in_port_t port;
	size_t len;

	if (host[0] == '[') {
		from++;
		len = strcspn(from, "]");
		end = from + len;
		if (*end++ != ']')
			return false;
	} else {
		len = strspn(host, ASCII_DIGITS ASCII_LETTERS "-._");
		end = from + len;
	}
	if (len == 0 || len >= HOST_NAME || (*end && (*end != ':' || !read_port(end + 1, &port))))
		return false;
	memcpy(name, from, len);
	name[len] = '\0';
	return host[0] != '[' || inet_pton(AF_INET6, name, &six) == 1;
}

bool host_is_loopback(const char *name)
{
	struct in6_addr six;
	struct in_addr four;

	if (inet_pton(AF_INET, name, &four) == 1)
		return is_loopback4(four);
	if (inet_pton(AF_INET6, name, &six) == 1)
		return IN6_IS_ADDR_LOOPBACK(&six);
	return strcasecmp(name, "localhost") == 0;
}

bool host_is_address(const char *name, const struct sockaddr *address)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
	struct in_addr four, ours;
	struct in6_addr named;

	if (as_ipv4(address, &ours))
		return inet_pton(AF_INET, name, &four) == 1 && four.s_addr == ours.s_addr;
	return address->sa_family == AF_INET6 && inet_pton(AF_INET6, name, &named) == 1 &&
	       memcmp(&named, &six->sin6_addr, sizeof(named)) == 0;
}

/* The value of a base64 character (RFC 4648, 4), or -1. */
static int base64_value(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* Decodes into text, NUL-terminated. False where it is no base64, or too long. */
static bool base64_read(const char *in, char *text, size_t room)
{
	size_t len = strlen(in), out = 0;
	unsigned bits = 0, have = 0;

	if (len == 0 || len % 4 != 0)
		return false;
	for (int pad = 0; pad < 2 && in[len - 1] == '='; pad++)
		len--;
	for (size_t i = 0; i < len; i++) {
		int value = base64_value(in[i]);

		if (value < 0)
			return false;
		bits = bits << 6 | (unsigned)value;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (out + 1 >= room)
			return false;
		text[out++] = (char)(bits >> have & 0xff);
	}
	text[out] = '\0';
	return true;
}

/* What follows the scheme's name and blanks; NULL where it is another scheme. */
static const char *credentials(const char *authorization, const char *scheme)
{
	size_t len = strlen(scheme), blanks;

	if (strncasecmp(authorization, scheme, len) != 0)
		return NULL;
	blanks = strspn(authorization + len, " ");
	return blanks ? authorization + len + blanks : NULL;
}

bool token_of(const char *authorization, char token[TOKEN_MAX + 1])
{
	char pair[2 * TOKEN_MAX]; /* any name, a colon, the token */
	const char *value = credentials(authorization, "Bearer");
	size_t len;

	if (!value) {
		value = credentials(authorization, "Basic");
		if (!value || !base64_read(value, pair, sizeof(pair)))
			return false;
		value = strchr(pair, ':');
		if (!value)
			return false;
		value++;
	}
	len = strlen(value);
	if (len > TOKEN_MAX)
		return false;
	memset(token, 0, TOKEN_MAX + 1);
	memcpy(token, value, len);
	return true;
}

bool token_equal(const char a[TOKEN_MAX + 1], const char b[TOKEN_MAX + 1])
{
	/* volatile: or a compiler might stop at the first difference */
	volatile unsigned char different = 0;

	for (size_t i = 0; i <= TOKEN_MAX; i++)
		different = (unsigned char)(different | (a[i] ^ b[i]));
	return different == 0;
}

int token_read(const char *text, char token[TOKEN_MAX + 1], struct err *e)
{
	size_t len = strcspn(text, "\r\n");

	if (text[len + strspn(text + len, "\r\n")])
		return err_set(e, -EINVAL, "it has more than one line");
	if (len < TOKEN_MIN || len > TOKEN_MAX)
		return err_set(e, -EINVAL,
			       "a token has %d to %d characters: make one with "
			       "(umask 077; openssl rand -hex 32 > FILE)",
			       TOKEN_MIN, TOKEN_MAX);
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return err_set(e, -EINVAL,
				       "a token has no blanks, and only ASCII characters");
	memset(token, 0, TOKEN_MAX + 1);
	memcpy(token, text, len);
	return 0;
}

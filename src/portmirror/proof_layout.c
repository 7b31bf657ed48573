/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_layout.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "portmirror/proof_frame.h"

enum {
	INNER_TAGS_MAX = 4,
	EXTENSIONS_MAX = 8, /* IPv6 extension headers */
};

static bool read_ipv4(struct cursor *c, struct layout *l)
{
	const uint8_t *ip;

	if (!cursor_bytes(c, 20, &ip) || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return false;
	l->ipv4 = true;
	l->fragment = (load16(ip + 6) & 0x3fff) != 0;
	l->carried = ip[9];
	if (!cursor_skip(c, (size_t)(ip[0] & 15) * 4 - 20))
		return false;
	if ((load16(ip + 6) & 0x1fff) == 0) /* later fragments have no transport header */
		l->protocol = ip[9];
	return true;
}

/* RFC 8200, section 4. */
static bool read_ipv6(struct cursor *c, struct layout *l)
{
	const uint8_t *ip;
	const uint8_t *extension;
	uint8_t next;

	if (!cursor_bytes(c, 40, &ip) || ip[0] >> 4 != 6)
		return false;
	l->ipv6 = true;
	next = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		size_t unit = 8, more = 0;

		if (next == IPPROTO_AH) /* RFC 4302: counted in words of 4 bytes, minus 2 */
			unit = 4, more = 1;
		else if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
			 next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (!cursor_bytes(c, 8, &extension))
			return false;
		if (next == IPPROTO_FRAGMENT && !l->fragment) {
			l->fragment = true;
			l->carried = extension[0];
		}
		if (next == IPPROTO_FRAGMENT && (load16(extension + 2) & 0xfff8) != 0)
			return true;
		if (next != IPPROTO_FRAGMENT &&
		    !cursor_skip(c, (extension[1] + 1 + more) * unit - 8))
			return false;
		next = extension[0];
	}
	l->protocol = next;
	return true;
}

struct layout layout_of(const struct frame *f)
{
	struct layout l = {0};
	struct cursor c = cursor_of(f->bytes, f->len);
	bool whole = false;

	if (!cursor_skip(&c, FRAME_ADDRESSES) || !cursor_be16(&c, &l.type))
		return l;
	for (int i = 0; i < INNER_TAGS_MAX && is_tag(l.type); i++) {
		if (!cursor_skip(&c, 2) || !cursor_be16(&c, &l.type))
			return l;
	}
	l.l3 = (size_t)(c.at - f->bytes);
	if (l.type == ETH_P_IP)
		whole = read_ipv4(&c, &l);
	else if (l.type == ETH_P_IPV6)
		whole = read_ipv6(&c, &l);
	if (!whole)
		l.protocol = 0;
	l.l4 = (size_t)(c.at - f->bytes);
	return l;
}

bool layout_has_ports(const struct layout *l)
{
	return l->protocol == IPPROTO_TCP || l->protocol == IPPROTO_UDP ||
	       l->protocol == IPPROTO_SCTP || l->protocol == IPPROTO_UDPLITE ||
	       l->protocol == IPPROTO_DCCP;
}

/* VXLAN (two ports) and Geneve. */
static bool is_tunnel_port(uint16_t port)
{
	return port == 4789 || port == 8472 || port == 6081;
}

bool layout_is_tunnel(const struct layout *l, const struct frame *f)
{
	static const uint8_t protocols[] = {IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_GRE};

	for (size_t i = 0; i < COUNT(protocols); i++)
		if (l->protocol == protocols[i])
			return true;
	return l->protocol == IPPROTO_UDP && f->len >= l->l4 + 4 &&
	       (is_tunnel_port(load16(f->bytes + l->l4)) ||
		is_tunnel_port(load16(f->bytes + l->l4 + 2)));
}

/* SPDX-License-Identifier: MIT */
#include "portmirror/selector.h"

#include <errno.h>
#include <fnmatch.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/text.h"
#include "netlink/link.h"
#include "portmirror/mac.h"
#include "portmirror/vm.h"

#define NIC_MAX	   999
#define GLOB_CHARS "*?["

static const struct {
	const char *word;
	enum selector_kind kind;
} kinds[] = {
	{"vm:", SELECTOR_VM},
	{"port:", SELECTOR_PORT},
	{"bridge:", SELECTOR_BRIDGE},
	{"mac:", SELECTOR_MAC},
};

static bool is_glob(const char *name)
{
	return strpbrk(name, GLOB_CHARS) != NULL;
}

/* net/core/dev.c, dev_valid_name(). */
static bool is_device_name(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0 && !strpbrk(name, "/: ") && text_printable(name);
}

static int parse_port(struct selector *s, const char *rest, struct err *e)
{
	if (is_glob(rest) && s->kind == SELECTOR_BRIDGE)
		return err_set(e, -EINVAL, "\"%s\": a bridge is named whole, without %c", s->text,
			       *strpbrk(rest, GLOB_CHARS));
	if (is_glob(rest)) {
		if (strpbrk(rest, "/ "))
			return err_set(e, -EINVAL,
				       "\"%s\" can match no device: their names hold no '/' and no "
				       "blank",
				       s->text);
	} else if (!is_device_name(rest)) {
		return err_set(e, -EINVAL,
			       "\"%s\" names no device: a name has 1 to %d bytes, without '/', ':' "
			       "and blanks",
			       s->text, IFNAMSIZ - 1);
	} else if (strcmp(rest, "lo") == 0) {
		return err_set(e, -EINVAL, "\"%s\" is the loopback device: no machine is behind it",
			       s->text);
	}
	s->name = strdup(rest);
	return s->name ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int parse_mac_selector(struct selector *s, const char *rest, struct err *e)
{
	if (!mac_parse(rest, s->mac))
		return err_set(e, -EINVAL, "\"%s\" is no address; write mac:52:54:00:12:34:56",
			       s->text);
	if (s->mac[0] & 1)
		return err_set(e, -EINVAL, "\"%s\" is the address of a group, not of a device",
			       s->text);
	s->has_mac = true;
	return 0;
}

/* NAME, NAME/N or NAME/MAC. */
static int parse_vm(struct selector *s, const char *rest, struct err *e)
{
	const char *slash = strrchr(rest, '/');
	size_t len = strlen(rest);

	if (slash && mac_parse(slash + 1, s->mac)) {
		s->has_mac = true;
		len = (size_t)(slash - rest);
	} else if (slash && slash[1] && strspn(slash + 1, "0123456789") == strlen(slash + 1)) {
		unsigned long nic = strtoul(slash + 1, NULL, 10);

		if (nic > NIC_MAX)
			return err_set(e, -EINVAL, "\"%s\": the NICs are numbered from 0 to %d",
				       s->text, NIC_MAX);
		s->nic = (int)nic;
		len = (size_t)(slash - rest);
	}
	if (len == 0)
		return err_set(e, -EINVAL, "\"%s\" names no machine", s->text);
	s->name = strndup(rest, len);
	return s->name ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int no_selector(const char *text, struct err *e)
{
	char shown[TEXT_SHOWN];

	err_set(e, -EINVAL,
		"\"%s\" is no selector; it starts with vm:, port:, bridge: or mac:%s%s%s",
		text_shown(shown, text), is_device_name(text) ? " (for a device: port:" : "",
		is_device_name(text) ? text : "", is_device_name(text) ? ")" : "");
	return -EINVAL;
}

/* Another one behind a comma: so lists look elsewhere, and a machine would be waited for that is
 * called so. */
static bool is_list(const char *text)
{
	for (const char *at = strchr(text, ','); at; at = strchr(at + 1, ','))
		for (size_t i = 0; i < COUNT(kinds); i++)
			if (strncmp(at + 1, kinds[i].word, strlen(kinds[i].word)) == 0)
				return true;
	return false;
}

/* Fills in what text means; kind is of kinds[]. */
static int parse_kind(const char *text, size_t kind, struct selector *s, struct err *e)
{
	const char *rest = text + strlen(kinds[kind].word);

	s->kind = kinds[kind].kind;
	s->text = strdup(text);
	if (!s->text)
		return err_set(e, -ENOMEM, "out of memory");
	if (s->kind == SELECTOR_VM)
		return parse_vm(s, rest, e);
	if (s->kind == SELECTOR_MAC)
		return parse_mac_selector(s, rest, e);
	return parse_port(s, rest, e);
}

int selector_parse(const char *text, struct selector *selector, struct err *e)
{
	struct selector parsed cleanup(selector_free) = {.nic = -1};
	char shown[TEXT_SHOWN];
	size_t kind = 0;
	int ret;

	if (strlen(text) > SELECTOR_MAX)
		return err_set(e, -EINVAL, "\"%s\" is longer than a selector may be (%d bytes)",
			       text_shown(shown, text), SELECTOR_MAX);
	if (!text_printable(text))
		return err_set(e, -EINVAL,
			       "\"%s\" holds control characters, or bytes that are no UTF-8",
			       text_shown(shown, text));
	while (kind < COUNT(kinds) &&
	       strncmp(text, kinds[kind].word, strlen(kinds[kind].word)) != 0)
		kind++;
	if (kind == COUNT(kinds))
		return no_selector(text, e);
	if (is_list(text))
		return err_set(e, -EINVAL, "\"%s\" is several selectors: give each by itself",
			       text_shown(shown, text));
	ret = parse_kind(text, kind, &parsed, e);
	if (ret < 0)
		return ret;
	*selector = parsed;
	parsed = (struct selector){0};
	return 0;
}

void selector_free(struct selector *selector)
{
	free(selector->text);
	free(selector->name);
	*selector = (struct selector){0};
}

bool selector_equal(const struct selector *a, const struct selector *b)
{
	if (a->kind != b->kind || a->nic != b->nic || a->has_mac != b->has_mac)
		return false;
	if (a->has_mac && memcmp(a->mac, b->mac, sizeof(a->mac)) != 0)
		return false;
	return a->kind == SELECTOR_MAC || strcmp(a->name, b->name) == 0;
}

bool selector_single(const struct selector *selector)
{
	switch (selector->kind) {
	case SELECTOR_VM:
		return selector->nic >= 0 || selector->has_mac;
	case SELECTOR_PORT:
		return !is_glob(selector->name);
	case SELECTOR_MAC:
		return true;
	case SELECTOR_BRIDGE:
		break;
	}
	return false;
}

void ifindexes_free(struct ifindexes *list)
{
	free(list->items);
	*list = (struct ifindexes){0};
}

/* By rising index. */
bool ifindexes_have(const struct ifindexes *list, int ifindex)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->items[middle] < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && list->items[low] == ifindex;
}

int ifindexes_add(struct ifindexes *list, int ifindex)
{
	size_t at = list->count;

	if (ifindexes_have(list, ifindex))
		return 0;
	if (array_room(&list->items, &list->room, list->count, sizeof(*list->items)) < 0)
		return -ENOMEM;
	for (; at > 0 && list->items[at - 1] > ifindex; at--)
		list->items[at] = list->items[at - 1];
	list->items[at] = ifindex;
	list->count++;
	return 0;
}

static bool is_loopback(const struct nl_link *link)
{
	return (link->flags & IFF_LOOPBACK) || strcmp(link->name, "lo") == 0;
}

static int resolve_port(const struct selector *s, const struct nl_links *links,
			struct ifindexes *found)
{
	bool glob = is_glob(s->name);
	int ret = 0;

	for (size_t i = 0; i < links->count && ret == 0; i++) {
		const struct nl_link *link = &links->items[i];

		if (glob ? fnmatch(s->name, link->name, 0) == 0 && !is_loopback(link)
			 : strcmp(s->name, link->name) == 0)
			ret = ifindexes_add(found, link->index);
	}
	return ret;
}

static int resolve_bridge(const struct selector *s, const struct nl_links *links,
			  struct ifindexes *found, struct err *e)
{
	const struct nl_link *bridge = nl_link_by_name(links, s->name);
	int ret = 0;

	if (!bridge)
		return 0;
	if (strcmp(bridge->kind, "bridge") != 0)
		return err_set(e, -ENOTDIR, "%s is no bridge", s->name);
	for (size_t i = 0; i < links->count && ret == 0; i++)
		if (links->items[i].master == bridge->index)
			ret = ifindexes_add(found, links->items[i].index);
	return ret;
}

static int add_port_of(const struct vm_nic *nic, const struct nl_links *links,
		       struct ifindexes *found)
{
	const struct nl_link *link = nl_link_by_name(links, nic->port);

	return link ? ifindexes_add(found, link->index) : 0;
}

/* No command line tells the address of a card that was plugged in later. libvirt gives its tap the
 * same one but for the first byte. */
static bool has_mac(const struct vm_nic *nic, const struct nl_links *links, const uint8_t mac[6])
{
	const struct nl_link *tap;

	if (nic->has_mac)
		return memcmp(nic->mac, mac, 6) == 0;
	tap = nl_link_by_name(links, nic->port);
	return tap && tap->has_mac && tap->mac[0] == 0xfe && memcmp(tap->mac + 1, mac + 1, 5) == 0;
}

static bool is_called(const struct vm *vm, const char *name)
{
	return strcmp(vm->name, name) == 0 || (*vm->id && strcmp(vm->id, name) == 0) ||
	       (*vm->uuid && strcasecmp(vm->uuid, name) == 0);
}

static int resolve_vm(const struct selector *s, const struct nl_links *links, const struct vms *vms,
		      struct ifindexes *found, struct err *e)
{
	const struct vm *vm = NULL;
	int ret = 0;

	for (size_t i = 0; i < vms->count; i++) {
		if (!is_called(&vms->items[i], s->name))
			continue;
		if (vm)
			return err_set(e, -ENOTUNIQ,
				       "two machines are called \"%s\" (processes %d and %d): name "
				       "one by its UUID",
				       s->name, (int)vm->pid, (int)vms->items[i].pid);
		vm = &vms->items[i];
	}
	for (size_t i = 0; vm && i < vm->nnics && ret == 0; i++)
		if ((s->nic < 0 || (size_t)s->nic == i) &&
		    (!s->has_mac || has_mac(&vm->nics[i], links, s->mac)))
			ret = add_port_of(&vm->nics[i], links, found);
	return ret;
}

static int ambiguous(const struct selector *s, const char *one, const char *other, struct err *e)
{
	return err_set(e, -ENOTUNIQ,
		       "%s is the address of both %s and %s: name one with port:", s->text, one,
		       other);
}

static int resolve_mac(const struct selector *s, const struct nl_links *links,
		       const struct vms *vms, struct ifindexes *found, struct err *e)
{
	const struct nl_link *device = NULL;
	const struct vm_nic *nic = NULL;

	for (size_t i = 0; i < vms->count; i++) {
		for (size_t j = 0; j < vms->items[i].nnics; j++) {
			const struct vm_nic *other = &vms->items[i].nics[j];

			if (!has_mac(other, links, s->mac))
				continue;
			if (nic)
				return ambiguous(s, nic->port, other->port, e);
			nic = other;
		}
	}
	if (nic)
		return add_port_of(nic, links, found);
	for (size_t i = 0; i < links->count; i++) {
		const struct nl_link *link = &links->items[i];

		/* A bridge takes its address from a port: br_stp_recalculate_bridge_id(). */
		if (!link->has_mac || memcmp(link->mac, s->mac, sizeof(s->mac)) != 0 ||
		    is_loopback(link) || strcmp(link->kind, "bridge") == 0)
			continue;
		if (device)
			return ambiguous(s, device->name, link->name, e);
		device = link;
	}
	return device ? ifindexes_add(found, device->index) : 0;
}

static int resolve_kind(const struct selector *s, const struct nl_links *links,
			const struct vms *vms, struct ifindexes *found, struct err *e)
{
	switch (s->kind) {
	case SELECTOR_VM:
		return resolve_vm(s, links, vms, found, e);
	case SELECTOR_PORT:
		return resolve_port(s, links, found);
	case SELECTOR_BRIDGE:
		return resolve_bridge(s, links, found, e);
	case SELECTOR_MAC:
		break;
	}
	return resolve_mac(s, links, vms, found, e);
}

int selector_resolve(const struct selector *selector, const struct nl_links *links,
		     const struct vms *vms, struct ifindexes *found, struct err *e)
{
	struct ifindexes all cleanup(ifindexes_free) = {0}, before;
	int ret = resolve_kind(selector, links, vms, &all, e);

	for (size_t i = 0; i < found->count && ret == 0; i++)
		ret = ifindexes_add(&all, found->items[i]);
	if (ret == -ENOMEM)
		return err_set(e, -ENOMEM, "out of memory");
	if (ret < 0)
		return ret;
	before = *found;
	*found = all;
	all = before;
	return 0;
}

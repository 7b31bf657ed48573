/* SPDX-License-Identifier: MIT */
/*
 * What the command lines of virtual machine monitors say: QEMU's, qemu(1), with comma lists or the
 * JSON that libvirt writes in their place; cloud-hypervisor's and Firecracker's, as their --help
 * has it. Whatever isn't understood is passed over: a machine without a name is better than none.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"
#include "portmirror/mac.h"
#include "portmirror/vm.h"

#define NAME_ROOM 256
#define PART_ROOM (NAME_ROOM + 32) /* a name with its key */

/* A part of the command line, without a NUL behind it. */
struct word {
	const char *text;
	size_t len;
};

/*
 * QEMU's: one dash or two, the value is the next argument, in a list two commas stand for one.
 * Clap's (a library for Rust programs): --option=VALUE, or one argument or more behind it; in a
 * list commas between [ and ] belong to the value.
 */
enum style { STYLE_QEMU, STYLE_CLAP };

/* The value of an option: a JSON object or a list of key=value. */
struct option {
	json_t *json; /* NULL: a list */
	struct word list;
	enum style style;
};

struct scan {
	struct vm *vm;
	struct vm_hints *hints;
	char name[NAME_ROOM];
	char smbios_uuid[37];
	bool failed; /* out of memory */
};

struct known {
	const char *name; /* without its dashes; NULL: the end */
	void (*read)(struct scan *s, const struct option *o);
};

static bool starts(struct word word, const char *text)
{
	return word.len >= strlen(text) && memcmp(word.text, text, strlen(text)) == 0;
}

static bool is(struct word word, const char *text)
{
	return word.len == strlen(text) && starts(word, text);
}

static void skip(struct word *word, size_t len)
{
	word->text += len;
	word->len -= len;
}

/* Copies the word as a string; false, with to untouched, where it doesn't fit or holds a NUL. */
static bool copy(struct word word, char *to, size_t room)
{
	if (word.len >= room || memchr(word.text, '\0', word.len))
		return false;
	memcpy(to, word.text, word.len);
	to[word.len] = '\0';
	return true;
}

/* Takes the next part of the list; one that doesn't fit is left empty: it is none that we want. */
static bool next_part(struct word *list, enum style style, char part[PART_ROOM])
{
	size_t at = 0, len = 0, depth = 0;

	if (list->len == 0)
		return false;
	for (; at < list->len; at++) {
		char c = list->text[at];

		if (style == STYLE_CLAP)
			depth = depth + (c == '[') - (c == ']' && depth > 0);
		if (c == ',' && depth == 0) {
			if (style == STYLE_CLAP || at + 1 == list->len || list->text[at + 1] != ',')
				break;
			at++;
		}
		if (len + 1 < PART_ROOM)
			part[len] = c;
		len++;
	}
	part[len < PART_ROOM ? len : 0] = '\0';
	skip(list, at < list->len ? at + 1 : at);
	return true;
}

/*
 * The value of key, the last one where there are several, as QEMU takes it. implied: the key of a
 * first part that has none. False, with to untouched, where there is none, or none that fits.
 */
static bool get(const struct option *o, const char *key, bool implied, char *to, size_t room)
{
	struct word list = o->list;
	char part[PART_ROOM] = "";
	bool first = true, found = false;

	if (o->json) {
		const json_t *value = json_object_get(o->json, key);
		struct word word = {json_string_value(value), json_string_length(value)};

		return word.text && copy(word, to, room);
	}
	for (; next_part(&list, o->style, part); first = false) {
		struct word word = {part, strlen(part)};

		if (word.len > strlen(key) && starts(word, key) && part[strlen(key)] == '=')
			skip(&word, strlen(key) + 1);
		else if (!first || !implied || strchr(part, '='))
			continue;
		found |= copy(word, to, room);
	}
	return found;
}

/* 8-4-4-4-12 hexadecimal digits, into small letters. */
static void read_uuid(const char *text, char uuid[37])
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	char small[sizeof(shape)] = "";

	if (strlen(text) != strlen(shape))
		return;
	for (size_t i = 0; shape[i]; i++) {
		if (shape[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return;
		small[i] = (char)tolower((unsigned char)text[i]);
	}
	memcpy(uuid, small, sizeof(small));
}

/* 30, 30:31, [30,31]. */
static void read_fds(const char *text, struct vm_hint *hint)
{
	text += *text == '[';
	while (isdigit((unsigned char)*text) && hint->nfds < COUNT(hint->fds)) {
		char *end;
		unsigned long fd = strtoul(text, &end, 10);

		if (fd <= INT_MAX)
			hint->fds[hint->nfds++] = (int)fd;
		text = end + (*end == ':' || *end == ',');
	}
}

static void read_mac(const struct option *o, struct vm_hint *hint)
{
	char text[32];

	if (get(o, "mac", false, text, sizeof(text)))
		hint->has_mac = mac_parse(text, hint->mac);
}

static void add_hint(struct scan *s, const struct vm_hint *hint)
{
	struct vm_hints *h = s->hints;

	if (array_room(&h->items, &h->room, h->count, sizeof(*h->items)) < 0)
		s->failed = true;
	else
		h->items[h->count++] = *hint;
}

static void read_qemu_name(struct scan *s, const struct option *o)
{
	get(o, "guest", true, s->name, sizeof(s->name));
}

static void read_qemu_uuid(struct scan *s, const struct option *o)
{
	char text[64];

	if (copy(o->list, text, sizeof(text)))
		read_uuid(text, s->vm->uuid);
}

static void read_qemu_smbios(struct scan *s, const struct option *o)
{
	char text[64];

	if (get(o, "uuid", false, text, sizeof(text)))
		read_uuid(text, s->smbios_uuid);
}

/* Proxmox patches this option into its QEMU. */
static void read_qemu_id(struct scan *s, const struct option *o)
{
	copy(o->list, s->vm->id, sizeof(s->vm->id));
}

/* -netdev, -net, and -nic, which is a -netdev with its device in one. */
static void read_qemu_netdev(struct scan *s, const struct option *o)
{
	struct vm_hint hint = {0};
	char text[NAME_ROOM];

	if (!get(o, "type", true, text, sizeof(text)) ||
	    (strcmp(text, "tap") != 0 && strcmp(text, "bridge") != 0))
		return;
	get(o, "id", false, hint.netdev, sizeof(hint.netdev));
	get(o, "ifname", false, hint.port, sizeof(hint.port));
	if (get(o, "fds", false, text, sizeof(text)) || get(o, "fd", false, text, sizeof(text)))
		read_fds(text, &hint);
	read_mac(o, &hint);
	add_hint(s, &hint);
}

static void read_qemu_device(struct scan *s, const struct option *o)
{
	char netdev[sizeof(s->hints->items->netdev)];

	if (!get(o, "netdev", false, netdev, sizeof(netdev)) || *netdev == '\0')
		return;
	for (size_t i = 0; i < s->hints->count; i++)
		if (strcmp(s->hints->items[i].netdev, netdev) == 0)
			read_mac(o, &s->hints->items[i]);
}

static void read_clap_net(struct scan *s, const struct option *o)
{
	struct vm_hint hint = {0};
	char text[NAME_ROOM];

	get(o, "tap", false, hint.port, sizeof(hint.port));
	if (get(o, "fd", false, text, sizeof(text)))
		read_fds(text, &hint);
	read_mac(o, &hint);
	if (*hint.port || hint.nfds > 0 || hint.has_mac)
		add_hint(s, &hint);
}

static void read_clap_platform(struct scan *s, const struct option *o)
{
	char text[64];

	if (get(o, "uuid", false, text, sizeof(text)))
		read_uuid(text, s->vm->uuid);
}

static void read_clap_id(struct scan *s, const struct option *o)
{
	copy(o->list, s->name, sizeof(s->name));
}

static const struct known qemu_options[] = {
	{"name", read_qemu_name},     {"uuid", read_qemu_uuid},
	{"smbios", read_qemu_smbios}, {"id", read_qemu_id},
	{"net", read_qemu_netdev},    {"nic", read_qemu_netdev},
	{"netdev", read_qemu_netdev}, {NULL, NULL},
};

/* Read once all back ends are known: the options may come in any order. */
static const struct known qemu_devices[] = {
	{"device", read_qemu_device},
	{NULL, NULL},
};

static const struct known cloud_hypervisor_options[] = {
	{"net", read_clap_net},
	{"platform", read_clap_platform},
	{NULL, NULL},
};

static const struct known firecracker_options[] = {
	{"id", read_clap_id},
	{NULL, NULL},
};

static void read_value(struct scan *s, const struct known *known, struct word value,
		       enum style style)
{
	json_t *json cleanup(json_free_at) = NULL;
	struct option o = {.list = value, .style = style};

	if (style == STYLE_QEMU && starts(value, "{") &&
	    json_load(value.text, value.len, 0, &json, NULL) == -ENOMEM)
		s->failed = true;
	o.json = json;
	known->read(s, &o);
}

/* The option that the argument is; what stands behind its '=' is left in *word. */
static const struct known *find(const struct known *options, struct word *word, enum style style)
{
	struct word name = *word;
	const char *equal = NULL;

	if (!starts(name, "-"))
		return NULL;
	skip(&name, starts(name, "--") ? 2 : 1);
	if (style == STYLE_CLAP)
		equal = memchr(name.text, '=', name.len);
	*word = (struct word){"", 0};
	if (equal) {
		word->text = equal + 1;
		word->len = (size_t)(name.text + name.len - word->text);
		name.len = (size_t)(equal - name.text);
	}
	for (; options->name; options++)
		if (is(name, options->name))
			return options;
	return NULL;
}

static void walk(struct scan *s, struct cursor args, const struct known *options, enum style style)
{
	const struct known *known = NULL;
	struct word word;

	while (cursor_part(&args, '\0', &word.text, &word.len)) {
		if (known && (style == STYLE_QEMU || !starts(word, "-"))) {
			read_value(s, known, word, style);
			if (style == STYLE_QEMU)
				known = NULL;
			continue;
		}
		known = find(options, &word, style);
		if (known && word.len > 0)
			read_value(s, known, word, style);
	}
}

/* The monitor by the program's name; NULL: none that we know. qemu-img and the like are none. */
static const char *monitor_of(struct word program)
{
	char name[64];
	const char *slash = memrchr(program.text, '/', program.len);

	if (slash)
		skip(&program, (size_t)(slash + 1 - program.text));
	if (!copy(program, name, sizeof(name)))
		return NULL;
	if (strcmp(name, "kvm") == 0 || strcmp(name, "qemu") == 0 || strstr(name, "qemu-system") ||
	    strstr(name, "qemu-kvm"))
		return "qemu";
	if (starts(program, "cloud-hyperviso")) /* comm holds 15 bytes */
		return "cloud-hypervisor";
	return starts(program, "firecracker") ? "firecracker" : NULL;
}

static void read_arguments(struct scan *s, struct cursor args)
{
	if (strcmp(s->vm->monitor, "qemu") == 0) {
		walk(s, args, qemu_options, STYLE_QEMU);
		walk(s, args, qemu_devices, STYLE_QEMU);
	} else if (strcmp(s->vm->monitor, "cloud-hypervisor") == 0) {
		walk(s, args, cloud_hypervisor_options, STYLE_CLAP);
	} else if (strcmp(s->vm->monitor, "firecracker") == 0) {
		walk(s, args, firecracker_options, STYLE_CLAP);
	}
}

/* Names become attributes and selectors: no control characters, no invalid UTF-8. */
static void make_printable(char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		uint32_t code = 0;
		size_t bytes = text_char(text, left, &code);

		if (bytes == 0)
			bytes = 1;
		if (code < 0x20 || (code >= 0x7f && code < 0xa0))
			memset(text, '?', bytes);
		text += bytes;
		left -= bytes;
	}
}

/* The name, else the UUID or id, which are the machine's own as well; else the process. */
static int settle_name(struct vm *vm, struct scan *s)
{
	char process[32];

	make_printable(s->name);
	make_printable(vm->id);
	make_printable(vm->monitor);
	if (*vm->uuid == '\0')
		memcpy(vm->uuid, s->smbios_uuid, sizeof(vm->uuid));
	if (*s->name == '\0')
		snprintf(s->name, sizeof(s->name), "%s", *vm->id ? vm->id : vm->uuid);
	vm->named = *s->name != '\0';
	snprintf(process, sizeof(process), "pid-%d", (int)vm->pid);
	vm->name = strdup(vm->named ? s->name : process);
	return vm->name ? 0 : -ENOMEM;
}

int vm_read_cmdline(const char *cmdline, size_t len, const char *comm, struct vm *vm,
		    struct vm_hints *hints)
{
	struct scan s = {.vm = vm, .hints = hints};
	struct cursor args = cursor_of(cmdline, len);
	struct word program = {"", 0};
	const char *monitor = NULL;

	if (cursor_part(&args, '\0', &program.text, &program.len))
		monitor = monitor_of(program);
	if (!monitor)
		monitor = monitor_of((struct word){comm, strlen(comm)});
	snprintf(vm->monitor, sizeof(vm->monitor), "%s", monitor ? monitor : comm);
	read_arguments(&s, args);
	return s.failed ? -ENOMEM : settle_name(vm, &s);
}

void vm_free(struct vm *vm)
{
	free(vm->name);
	free(vm->nics);
	*vm = (struct vm){0};
}

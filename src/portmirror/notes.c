/* SPDX-License-Identifier: MIT */
#include "portmirror/notes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/json.h"

#define FILE_MAX ((size_t)16 << 20)
#define BOOT_ID	 36

/* Which kernel's devices the notes are about: this boot's, in this network namespace. */
struct where {
	char boot[BOOT_ID + 1];
	json_int_t netns;
};

static int where_are_we(struct where *where, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	struct stat st;
	size_t len;
	int r;

	r = file_read("/proc/sys/kernel/random/boot_id", 64, &text, &len, e);
	if (r < 0)
		return r;
	if (len < BOOT_ID)
		return err_set(e, -EBADMSG, "/proc/sys/kernel/random/boot_id is too short");
	if (stat("/proc/self/ns/net", &st) < 0)
		return err_sys(e, -errno, "/proc/self/ns/net");
	*where = (struct where){.netns = (json_int_t)st.st_ino};
	memcpy(where->boot, text, BOOT_ID);
	return 0;
}

void notes_free(struct notes *notes)
{
	free(notes->items);
	*notes = (struct notes){0};
}

/* Where a device's notes are, or belong. */
static size_t place_of(const struct notes *notes, int ifindex)
{
	size_t low = 0, high = notes->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (notes->items[middle].ifindex < ifindex)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int notes_add(struct notes *notes, const struct note *note)
{
	size_t at = place_of(notes, note->ifindex + 1);
	struct note *place;

	if (array_room(&notes->items, &notes->room, notes->count, sizeof(*notes->items)) < 0)
		return -ENOMEM;
	place = &notes->items[at];
	memmove(place + 1, place, (notes->count - at) * sizeof(*place));
	*place = *note;
	notes->count++;
	return 0;
}

struct note *notes_qdisc(const struct notes *notes, int ifindex, uint32_t parent, const char *kind)
{
	for (size_t i = place_of(notes, ifindex); i < notes->count; i++) {
		struct note *n = &notes->items[i];

		if (n->ifindex != ifindex)
			break;
		if (n->kind == NOTE_QDISC && n->parent == parent && strcmp(n->qdisc, kind) == 0)
			return n;
	}
	return NULL;
}

struct note *notes_isolate(const struct notes *notes, int ifindex)
{
	for (size_t i = place_of(notes, ifindex); i < notes->count; i++) {
		struct note *n = &notes->items[i];

		if (n->ifindex != ifindex)
			break;
		if (n->kind == NOTE_ISOLATE)
			return n;
	}
	return NULL;
}

void notes_drop(struct notes *notes, const struct note *note)
{
	size_t at = (size_t)(note - notes->items);

	memmove(&notes->items[at], &notes->items[at + 1],
		(notes->count - at - 1) * sizeof(*notes->items));
	notes->count--;
}

int notes_copy(struct notes *to, const struct notes *from)
{
	to->count = 0;
	for (size_t i = 0; i < from->count; i++)
		if (notes_add(to, &from->items[i]) < 0)
			return -ENOMEM;
	return 0;
}

static bool note_equal(const struct note *a, const struct note *b)
{
	return a->kind == b->kind && a->ifindex == b->ifindex && a->parent == b->parent &&
	       a->handle == b->handle && a->flags == b->flags && strcmp(a->qdisc, b->qdisc) == 0;
}

bool notes_equal(const struct notes *a, const struct notes *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!note_equal(&a->items[i], &b->items[i]))
			return false;
	return true;
}

/* What json_unpack() has failed for; errno was 0. */
static int unpack_failed(void)
{
	return errno == ENOMEM ? -ENOMEM : -EBADMSG;
}

static int read_note(json_t *object, struct note *note)
{
	const char *kind, *port, *qdisc = "";
	json_int_t parent = 0, handle = 0;
	int flags = 0, ifindex;

	errno = 0;
	if (json_unpack(object, "{s:s, s:i, s:s, s?s, s?I, s?I, s?i}", "note", &kind, "ifindex",
			&ifindex, "port", &port, "qdisc", &qdisc, "parent", &parent, "handle",
			&handle, "flags", &flags) < 0)
		return unpack_failed();
	if (strlen(port) >= sizeof(note->port) || strlen(qdisc) >= sizeof(note->qdisc) ||
	    (strcmp(kind, "qdisc") != 0 && strcmp(kind, "isolate") != 0))
		return -EBADMSG;
	*note = (struct note){
		.kind = strcmp(kind, "qdisc") == 0 ? NOTE_QDISC : NOTE_ISOLATE,
		.ifindex = ifindex,
		.parent = (uint32_t)parent,
		.handle = (uint32_t)handle,
		.flags = (unsigned)flags,
	};
	snprintf(note->port, sizeof(note->port), "%s", port);
	snprintf(note->qdisc, sizeof(note->qdisc), "%s", qdisc);
	return 0;
}

/* The notes about a network namespace; NULL: there are none. */
static json_t *list_of(const json_t *root, json_int_t netns)
{
	const json_t *other;
	size_t i;

	if (json_integer_value(json_object_get(root, "netns")) == netns)
		return json_object_get(root, "notes");
	json_array_foreach(json_object_get(root, "others"), i, other)
	{
		if (json_integer_value(json_object_get(other, "netns")) == netns)
			return json_object_get(other, "notes");
	}
	return NULL;
}

static int read_all(json_t *root, const struct where *here, struct notes *notes)
{
	const char *boot = "";
	json_int_t netns = 0;
	json_t *list = NULL, *item;
	size_t i;

	errno = 0;
	if (json_unpack(root, "{s:s, s:I, s:o}", "boot", &boot, "netns", &netns, "notes", &list) <
	    0)
		return unpack_failed();
	if (!json_is_array(list))
		return -EBADMSG;
	list = strcmp(boot, here->boot) == 0 ? list_of(root, here->netns) : NULL;
	if (!list)
		return 0;
	if (!json_is_array(list))
		return -EBADMSG;
	json_array_foreach(list, i, item)
	{
		struct note note;

		int r = read_note(item, &note);

		if (r < 0)
			return r;
		if (notes_add(notes, &note) < 0)
			return -ENOMEM;
	}
	return 0;
}

int notes_read(const char *path, struct notes *notes, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	json_t *root cleanup(json_free_at) = NULL;
	struct notes found = {0};
	struct where here = {0};
	size_t len;
	int r;

	r = where_are_we(&here, e);
	if (r < 0)
		return r;
	r = file_read(path, FILE_MAX, &text, &len, e);
	if (r == -ENOENT) {
		*notes = found;
		return 0;
	}
	if (r == 0)
		r = json_read(text, len, path, &root, e);
	if (r < 0)
		return r;
	r = read_all(root, &here, &found);
	if (r < 0) {
		notes_free(&found);
		return err_set(e, r,
			       r == -ENOMEM
				       ? "out of memory"
				       : "%s: not in the form that portmirror writes; it tells "
					 "which qdiscs are ours: mend it, or remove it and "
					 "then what it lists",
			       path);
	}
	*notes = found;
	return 0;
}

/* (By hand: a host of a thousand ports writes this for each new one.) The name is for people, so
 * what JSON would have to escape, or couldn't hold, is a question mark. */
static void write_note(struct buf *out, const struct note *n)
{
	buf_fmt(out, "{\"note\":\"%s\",\"ifindex\":%d,\"port\":\"",
		n->kind == NOTE_QDISC ? "qdisc" : "isolate", n->ifindex);
	for (const char *c = n->port; *c; c++) {
		bool plain = *c >= ' ' && *c <= '~' && *c != '"' && *c != '\\';

		buf_add(out, plain ? c : "?", 1);
	}
	if (n->kind == NOTE_ISOLATE)
		buf_fmt(out, "\",\"flags\":%u}", n->flags);
	else
		buf_fmt(out, "\",\"qdisc\":\"%s\",\"parent\":%u,\"handle\":%u}", n->qdisc,
			n->parent, n->handle);
}

static int add_other(json_t *others, const json_t *from, const struct where *here)
{
	json_t *netns = json_object_get(from, "netns"), *list = json_object_get(from, "notes");

	if (json_integer_value(netns) == here->netns || json_array_size(list) == 0)
		return 0;
	return json_array_append_new(others,
				     json_pack("{s:O, s:O}", "netns", netns, "notes", list)) < 0
		       ? -ENOMEM
		       : 0;
}

/* That it tells of nothing else can be seen without taking it apart, which is most often so. */
static bool tells_of_others(const char *text, size_t len, const struct where *here)
{
	char start[sizeof("{'boot':'','netns':,") + BOOT_ID + 20];

	snprintf(start, sizeof(start), "{\"boot\":\"%s\",\"netns\":%lld,", here->boot,
		 (long long)here->netns);
	return strncmp(text, start, strlen(start)) != 0 || memmem(text, len, "\"others\"", 8);
}

/* What the file tells of other network namespaces, in which portmirror has the same folder. NULL:
 * nothing. (A file that is damaged was refused when it was read.) */
static int read_others(const char *path, const struct where *here, json_t **others, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	json_t *root cleanup(json_free_at) = NULL;
	json_t *list cleanup(json_free_at) = NULL;
	const json_t *other;
	const char *boot;
	size_t len, i;
	int r = file_read(path, FILE_MAX, &text, &len, e);

	if (r < 0 || !tells_of_others(text, len, here))
		return r == -ENOENT ? 0 : r;
	r = json_read(text, len, path, &root, e);
	boot = json_string_value(json_object_get(root, "boot"));
	if (r == -ENOMEM || !boot || strcmp(boot, here->boot) != 0)
		return r == -ENOMEM ? r : 0;
	list = json_array();
	r = list ? add_other(list, root, here) : -ENOMEM;
	json_array_foreach(json_object_get(root, "others"), i, other)
	{
		if (r == 0)
			r = add_other(list, other, here);
	}
	if (r < 0)
		return err_set(e, r, "out of memory");
	*others = json_array_size(list) > 0 ? json_incref(list) : NULL;
	return 0;
}

int notes_write(const char *path, const struct notes *notes, struct err *e)
{
	struct buf text cleanup(buf_free) = {0};
	json_t *others cleanup(json_free_at) = NULL;
	char *told cleanup(free_at) = NULL;
	struct where here = {0};
	int r = where_are_we(&here, e);

	if (r == 0)
		r = read_others(path, &here, &others, e);
	if (r < 0)
		return r;
	told = others ? json_line(others) : NULL;
	if (others && !told)
		return err_set(e, -ENOMEM, "out of memory");
	if (notes->count == 0 && !others) {
		r = file_remove(path, e);
		return r == -ENOENT ? 0 : r;
	}
	buf_fmt(&text, "{\"boot\":\"%s\",\"netns\":%lld,\"notes\":[", here.boot,
		(long long)here.netns);
	for (size_t i = 0; i < notes->count; i++) {
		if (i > 0)
			buf_char(&text, ',');
		write_note(&text, &notes->items[i]);
	}
	buf_fmt(&text, "]%s%s}", told ? ",\"others\":" : "", told ? told : "");
	if (buf_status(&text) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return file_write(path, buf_text(&text), text.len, 0600, e);
}

/* SPDX-License-Identifier: MIT */
#include "portmirror/facts_nm.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "portmirror/facts.h"
#include "portmirror/host.h"

#define KEYFILE_MAX ((size_t)256 * 1024)

/* Walks over a keyfile: groups in brackets, KEY=VALUE, comments behind '#'. */
struct keyfile {
	const char *at;
	char group[64];
	char line[512];
	const char *key, *value; /* NULL: the line begins a group */
};

static char *trimmed(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* False: the end. */
static bool keyfile_next(struct keyfile *k)
{
	while (*k->at) {
		size_t len = strcspn(k->at, "\n");
		char *text, *equals;

		snprintf(k->line, sizeof(k->line), "%.*s", (int)len, k->at);
		k->at += len + (k->at[len] == '\n');
		text = trimmed(k->line);
		if (text[0] == '[') {
			snprintf(k->group, sizeof(k->group), "%.*s", (int)strcspn(text + 1, "]"),
				 text + 1);
			k->key = k->value = NULL;
			return true;
		}
		equals = strchr(text, '=');
		if (text[0] == '#' || !equals)
			continue;
		*equals = '\0';
		k->key = trimmed(text);
		k->value = trimmed(equals + 1);
		return true;
	}
	return false;
}

static void keep(char *to, size_t size, const char *value)
{
	snprintf(to, size, "%s", value);
}

bool nm_connection_read(const char *text, struct nm_connection *connection)
{
	struct keyfile k = {.at = text};
	bool tc = false;

	*connection = (struct nm_connection){0};
	while (keyfile_next(&k)) {
		tc |= strcmp(k.group, "tc") == 0;
		if (!k.key || strcmp(k.group, "connection") != 0)
			continue;
		if (strcmp(k.key, "id") == 0)
			keep(connection->id, sizeof(connection->id), k.value);
		else if (strcmp(k.key, "uuid") == 0)
			keep(connection->uuid, sizeof(connection->uuid), k.value);
		else if (strcmp(k.key, "interface-name") == 0)
			keep(connection->interface, sizeof(connection->interface), k.value);
	}
	return tc;
}

/* The process is NetworkManager, and its devices are ours. */
static bool is_manager(int proc, const char *pid)
{
	static const char name[] = "NetworkManager\n";
	char path[64], comm[sizeof(name)];
	struct stat theirs, ours;
	int fd cleanup(fd_close_at) = -1;

	snprintf(path, sizeof(path), "%.20s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, comm, sizeof(comm)) != (ssize_t)strlen(name) ||
	    memcmp(comm, name, strlen(name)) != 0)
		return false;
	snprintf(path, sizeof(path), "%.20s/ns/net", pid);
	return fstatat(proc, path, &theirs, 0) == 0 &&
	       stat("/proc/thread-self/ns/net", &ours) == 0 && theirs.st_ino == ours.st_ino &&
	       theirs.st_dev == ours.st_dev;
}

static bool manager_runs(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	while (proc && !found && (entry = readdir(proc)))
		found = isdigit((unsigned char)entry->d_name[0]) &&
			is_manager(dirfd(proc), entry->d_name);
	if (proc)
		closedir(proc);
	return found;
}

/* The connection that is active on the device, as NetworkManager notes it for its own restart; "":
 * it notes none. */
static int active_uuid(const char *root, int ifindex, char uuid[40])
{
	char *path cleanup(free_at) = string_fmt("%s/run/NetworkManager/devices/%d", root, ifindex);
	char *text cleanup(free_at) = NULL;
	struct keyfile k = {0};
	size_t len;
	int r;

	uuid[0] = '\0';
	if (!path)
		return -ENOMEM;
	r = file_read(path, KEYFILE_MAX, &text, &len, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	k.at = text;
	while (keyfile_next(&k))
		if (k.key && strcmp(k.group, "device") == 0 &&
		    strcmp(k.key, "connection-uuid") == 0)
			keep(uuid, 40, k.value);
	return 0;
}

/* Gives the connection to the devices that it is for. */
static int give(const struct nm_connection *c, const struct host *host, const char *root,
		struct facts *facts)
{
	for (size_t i = 0; i < facts->count; i++) {
		struct fact_device *d = &facts->devices[i];
		const struct nl_link *link = nl_link_by_index(&host->links, d->ifindex);
		char active[40];

		if (!link || d->connection)
			continue;
		if (active_uuid(root, d->ifindex, active) < 0)
			return -ENOMEM;
		if (active[0] ? strcmp(active, c->uuid) != 0
			      : strcmp(link->name, c->interface) != 0)
			continue;
		d->connection = strdup(c->uuid[0] ? c->uuid : c->id);
		if (!d->connection)
			return -ENOMEM;
	}
	return 0;
}

static int read_folder(const char *path, const struct host *host, const char *root,
		       struct facts *facts)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	int r = 0;

	while (folder && r == 0 && (entry = readdir(folder))) {
		struct nm_connection connection;
		char *text cleanup(free_at) = NULL;
		size_t len;

		if (entry->d_name[0] == '.')
			continue;
		r = file_read_at(dirfd(folder), entry->d_name, KEYFILE_MAX, &text, &len, NULL);
		if (r == 0 && nm_connection_read(text, &connection))
			r = give(&connection, host, root, facts);
		else if (r != -ENOMEM) /* what can't be read says nothing */
			r = 0;
	}
	if (folder)
		closedir(folder);
	return r;
}

int facts_gather_nm(const struct host *host, const char *root, struct facts *facts, struct err *e)
{
	static const char *const folders[] = {"etc", "run", "usr/lib"};

	if (!manager_runs())
		return 0;
	for (size_t i = 0; i < COUNT(folders); i++) {
		char *path cleanup(free_at) =
			string_fmt("%s/%s/NetworkManager/system-connections", root, folders[i]);

		if (!path || read_folder(path, host, root, facts) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

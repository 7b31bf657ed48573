/* SPDX-License-Identifier: MIT */
#include "stopexec/proc.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/mem.h"
#include "stopexec/elffile.h"

enum {
	FILE_MOST = 16 << 20, /* maps of a program with 100,000 mappings */
	NESTED = 4096, /* generations of processes; bounds a walk through a /proc that changes */
};

static int read_proc(pid_t pid, const char *name, char **text, size_t *len)
{
	char path[64];
	int status;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	status = file_read_at(AT_FDCWD, path, FILE_MOST, text, len, NULL);
	return status == -ENOENT ? -ESRCH : status;
}

/* A number of the base within [*at, end), after blanks; moves *at behind it. */
static bool number(const char **at, const char *end, int base, uint64_t *value)
{
	char digits[32];
	size_t n = 0;
	char *behind;

	while (*at < end && (**at == ' ' || **at == '\t'))
		(*at)++;
	while (*at + n < end && n < sizeof(digits) - 1 &&
	       strchr("0123456789abcdefABCDEFx", (*at)[n]) != NULL && (*at)[n] != '\0') {
		digits[n] = (*at)[n];
		n++;
	}
	digits[n] = '\0';
	errno = 0;
	*value = strtoull(digits, &behind, base);
	if (behind == digits || errno != 0)
		return false;
	*at += behind - digits;
	return true;
}

static bool four(const char *at, const char *end, struct ids *ids)
{
	uint64_t n[4];

	for (size_t i = 0; i < 4; i++)
		if (!number(&at, end, 10, &n[i]))
			return false;
	*ids = (struct ids){(uid_t)n[0], (uid_t)n[1], (uid_t)n[2], (uid_t)n[3]};
	return true;
}

static bool pid_of(const char *at, const char *end, pid_t *pid)
{
	uint64_t n;

	if (!number(&at, end, 10, &n) || n > INT32_MAX)
		return false;
	*pid = (pid_t)n;
	return true;
}

/* The keys that must all be there, one bit each. */
enum key { STATE, TGID, PPID, TRACER, UID, GID, PERMITTED, EFFECTIVE, BOUNDING, NO_NEW };

enum { KEYS = NO_NEW + 1 };

static bool take_value(enum key key, const char *at, const char *end, struct proc_status *s)
{
	uint64_t n;

	switch (key) {
	case STATE:
		if (at < end)
			s->state = *at;
		return at < end;
	case TGID:
		return pid_of(at, end, &s->tgid);
	case PPID:
		return pid_of(at, end, &s->parent);
	case TRACER:
		return pid_of(at, end, &s->tracer);
	case UID:
		return four(at, end, &s->uid);
	case GID:
		return four(at, end, &s->gid);
	case PERMITTED:
		return number(&at, end, 16, &s->permitted);
	case EFFECTIVE:
		return number(&at, end, 16, &s->effective);
	case BOUNDING:
		return number(&at, end, 16, &s->bounding);
	case NO_NEW:
		break;
	}
	if (!number(&at, end, 10, &n))
		return false;
	s->no_new_privs = n != 0;
	return true;
}

bool proc_status_parse(const char *text, size_t len, struct proc_status *status)
{
	static const char *const names[KEYS] = {
		[STATE] = "State:\t",	    [TGID] = "Tgid:\t",	       [PPID] = "PPid:\t",
		[TRACER] = "TracerPid:\t",  [UID] = "Uid:\t",	       [GID] = "Gid:\t",
		[PERMITTED] = "CapPrm:\t",  [EFFECTIVE] = "CapEff:\t", [BOUNDING] = "CapBnd:\t",
		[NO_NEW] = "NoNewPrivs:\t",
	};
	struct cursor c = cursor_of(text, len);
	struct proc_status got = {0};
	unsigned seen = 0;
	const char *line;
	size_t n;

	while (cursor_part(&c, '\n', &line, &n)) {
		for (unsigned key = 0; key < KEYS; key++) {
			size_t name = strlen(names[key]);

			if (n < name || memcmp(line, names[key], name) != 0)
				continue;
			if (!take_value((enum key)key, line + name, line + n, &got))
				return false;
			seen |= 1U << key;
		}
	}
	if (seen != (1U << KEYS) - 1)
		return false;
	*status = got;
	return true;
}

int proc_status(pid_t pid, struct proc_status *status)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "status", &text, &len);

	if (result < 0)
		return result;
	return proc_status_parse(text, len, status) ? 0 : -EPROTO;
}

static int parse_groups(const char *at, const char *end, gid_t **groups, size_t *count)
{
	gid_t *got cleanup(free_at) = NULL;
	size_t room = 0, n = 0;
	uint64_t group;

	while (number(&at, end, 10, &group)) {
		if (array_room(&got, &room, n, sizeof(*got)) < 0)
			return -ENOMEM;
		got[n++] = (gid_t)group;
	}
	free(*groups);
	*groups = take(got);
	*count = n;
	return 0;
}

int proc_inherited_parse(const char *text, size_t len, gid_t **groups, size_t *count, mode_t *mask)
{
	static const char mask_key[] = "Umask:\t", groups_key[] = "Groups:\t";
	gid_t *got cleanup(free_at) = NULL;
	struct cursor c = cursor_of(text, len);
	bool has_mask = false, has_groups = false;
	uint64_t value = 0;
	size_t n = 0, many = 0;
	const char *line;

	while (cursor_part(&c, '\n', &line, &n)) {
		const char *end = line + n;

		if (n >= strlen(mask_key) && memcmp(line, mask_key, strlen(mask_key)) == 0) {
			line += strlen(mask_key);
			has_mask = number(&line, end, 8, &value) && value <= 0777;
		} else if (n >= strlen(groups_key) &&
			   memcmp(line, groups_key, strlen(groups_key)) == 0) {
			if (parse_groups(line + strlen(groups_key), end, &got, &many) < 0)
				return -ENOMEM;
			has_groups = true;
		}
	}
	if (!has_mask || !has_groups)
		return -EPROTO;
	*groups = take(got);
	*count = many;
	*mask = (mode_t)value;
	return 0;
}

int proc_inherited(pid_t pid, gid_t **groups, size_t *count, mode_t *mask)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "status", &text, &len);

	return result < 0 ? result : proc_inherited_parse(text, len, groups, count, mask);
}

static bool take_limit(const char **at, const char *end, rlim_t *limit)
{
	static const char none[] = "unlimited";
	uint64_t value;

	while (*at < end && **at == ' ')
		(*at)++;
	if ((size_t)(end - *at) >= strlen(none) && memcmp(*at, none, strlen(none)) == 0) {
		*at += strlen(none);
		*limit = RLIM_INFINITY;
		return true;
	}
	if (!number(at, end, 10, &value))
		return false;
	*limit = value;
	return true;
}

/* A line of titles, then one for each limit by its number: its name in 26 columns, and the two
 * values (fs/proc/base.c, proc_pid_limits) */
bool proc_limits_parse(const char *text, size_t len, struct rlimit limits[RLIM_NLIMITS])
{
	enum { NAME = 26 };
	struct rlimit got[RLIM_NLIMITS];
	struct cursor c = cursor_of(text, len);
	const char *line;
	size_t n;

	if (!cursor_part(&c, '\n', &line, &n))
		return false;
	for (size_t i = 0; i < RLIM_NLIMITS; i++) {
		const char *at, *end;

		if (!cursor_part(&c, '\n', &line, &n) || n < NAME)
			return false;
		at = line + NAME;
		end = line + n;
		if (!take_limit(&at, end, &got[i].rlim_cur) ||
		    !take_limit(&at, end, &got[i].rlim_max))
			return false;
	}
	memcpy(limits, got, sizeof(got));
	return true;
}

int proc_limits(pid_t pid, struct rlimit limits[RLIM_NLIMITS])
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "limits", &text, &len);

	if (result < 0)
		return result;
	return proc_limits_parse(text, len, limits) ? 0 : -EPROTO;
}

/* A field of /proc/PID/stat, by its number in proc(5), from 3 on: the command's name, in brackets,
 * may hold anything, so what follows starts at the last bracket. */
static bool stat_number(const char *text, size_t len, int field, uint64_t *value)
{
	const char *at = len > 0 ? memrchr(text, ')', len) : NULL;
	struct cursor c;
	const char *word = NULL;
	size_t n = 0;

	if (at == NULL || text + len - at < 2)
		return false;
	c = cursor_of(at + 2, (size_t)(text + len - at - 2));
	for (int i = 3; i <= field; i++)
		if (!cursor_part(&c, ' ', &word, &n))
			return false;
	return number(&word, word + n, 10, value);
}

bool proc_start_parse(const char *text, size_t len, uint64_t *ticks)
{
	return stat_number(text, len, 22, ticks);
}

bool proc_terminal_parse(const char *text, size_t len)
{
	uint64_t device;

	return stat_number(text, len, 7, &device) && device != 0;
}

bool proc_has_terminal(pid_t pid)
{
	char *text cleanup(free_at) = NULL;
	size_t len;

	return read_proc(pid, "stat", &text, &len) == 0 && proc_terminal_parse(text, len);
}

int proc_start(pid_t pid, uint64_t *ticks)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "stat", &text, &len);

	if (result < 0)
		return result;
	return proc_start_parse(text, len, ticks) ? 0 : -EPROTO;
}

/* "NR 0x… 0x… SP PC", or "-1 SP PC": the last word (fs/proc/base.c, proc_pid_syscall) */
bool proc_counter_parse(const char *text, size_t len, uint64_t *counter)
{
	const char *at;

	while (len > 0 && text[len - 1] == '\n')
		len--;
	at = len > 0 ? memrchr(text, ' ', len) : NULL;
	return at != NULL && number(&at, text + len, 16, counter);
}

int proc_counter(pid_t pid, uint64_t *counter)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "syscall", &text, &len);

	if (result < 0)
		return result;
	return proc_counter_parse(text, len, counter) ? 0 : -EBUSY;
}

bool proc_mapping_parse(const char *line, size_t len, struct mapping *mapping)
{
	const char *at = line;
	const char *end = line + len;
	struct mapping got = {0};

	if (!number(&at, end, 16, &got.start) || at >= end || *at++ != '-' ||
	    !number(&at, end, 16, &got.end) || end - at < 6)
		return false;
	got.executable = at[3] == 'x';
	at += 6; /* " r-xp " */
	if (!number(&at, end, 16, &got.offset))
		return false;
	at += at < end; /* then " 08:01 " */
	while (at < end && *at != ' ')
		at++;
	if (!number(&at, end, 10, &got.inode))
		return false;
	while (at < end && *at == ' ')
		at++;
	if (end - at >= (ptrdiff_t)sizeof(got.path))
		return false;
	memcpy(got.path, at, (size_t)(end - at));
	*mapping = got;
	return true;
}

int proc_mapping(pid_t pid, bool (*fits)(const struct mapping *mapping, void *data), void *data,
		 struct mapping *found)
{
	char *text cleanup(free_at) = NULL;
	struct mapping mapping;
	const char *line;
	struct cursor c;
	size_t len;
	int result = read_proc(pid, "maps", &text, &len);

	if (result < 0)
		return result;
	c = cursor_of(text, len);
	while (cursor_part(&c, '\n', &line, &len)) {
		if (proc_mapping_parse(line, len, &mapping) && fits(&mapping, data)) {
			*found = mapping;
			return 0;
		}
	}
	return -ENOENT;
}

int proc_auxv(pid_t pid, bool wide, uint64_t type, uint64_t *value)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int result = read_proc(pid, "auxv", &text, &len);

	if (result < 0)
		return result;
	if (len == 0) /* on older kernels: it has ended, but nobody has waited for it yet */
		return -ESRCH;
	return auxv_find(text, len, wide, type, value) ? 0 : -ENOENT;
}

int proc_random(pid_t pid, uint64_t *random)
{
	int result = proc_auxv(pid, true, AT_RANDOM, random);

	return result == -ENOENT ? proc_auxv(pid, false, AT_RANDOM, random) : result;
}

int proc_open_program(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int proc_program(pid_t pid, char path[4096])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	len = readlink(link, path, 4095);
	if (len < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	path[len] = '\0';
	return 0;
}

bool proc_descends(pid_t pid, pid_t above)
{
	for (int i = 0; i < NESTED && pid > 0; i++) {
		struct proc_status status;

		if (pid == above)
			return true;
		if (proc_status(pid, &status) < 0)
			return false;
		pid = status.parent;
	}
	return false;
}

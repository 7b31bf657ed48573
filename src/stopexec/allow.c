/* SPDX-License-Identifier: MIT */
#include "stopexec/allow.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { ALLOW_MOST = 1 << 20 };

static bool same(const char *part, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(part, text, len) == 0;
}

static bool is_user(const char *word, size_t len, const struct allow_user *user)
{
	if (len == 0 || *word != '%')
		return same(word, len, user->name);
	for (size_t i = 0; i < user->ngroups; i++)
		if (same(word + 1, len - 1, user->groups[i]))
			return true;
	return false;
}

/* The next word of the line: blanks and tabs between. */
static bool next_word(struct cursor *line, const char **word, size_t *len)
{
	static const char blanks[] = " \t\r";
	uint8_t c;

	*len = 0;
	while (cursor_u8(line, &c)) {
		if (memchr(blanks, c, sizeof(blanks) - 1) != NULL) {
			if (*len > 0)
				return true;
			continue;
		}
		if (*len == 0)
			*word = (const char *)line->at - 1;
		++*len;
	}
	return *len > 0;
}

static bool line_says(const char *line, size_t len, const struct allow_user *user,
		      const char *program)
{
	const char *comment = len > 0 ? memchr(line, '#', len) : NULL;
	struct cursor c = cursor_of(line, comment != NULL ? (size_t)(comment - line) : len);
	const char *word = NULL;

	if (!next_word(&c, &word, &len) || !is_user(word, len, user))
		return false;
	while (next_word(&c, &word, &len))
		if (*word == '/' && same(word, len, program))
			return true;
	return false;
}

bool allow_says(const char *text, size_t len, const struct allow_user *user, const char *program)
{
	struct cursor c = cursor_of(text, len);
	const char *line;
	size_t n;

	while (cursor_part(&c, '\n', &line, &n))
		if (line_says(line, n, user, program))
			return true;
	return false;
}

void allow_groups_free(char **names, size_t count)
{
	for (size_t i = 0; names != NULL && i < count; i++)
		free(names[i]);
	free(names);
}

int allow_groups(char ***names, size_t *count)
{
	gid_t *ids cleanup(free_at) = calloc(NGROUPS_MAX + 1, sizeof(*ids));
	char **list = calloc(NGROUPS_MAX + 1, sizeof(*list));
	int n = ids != NULL && list != NULL ? getgroups(NGROUPS_MAX, ids) : -1;
	int result = n < 0 ? -errno : 0;
	size_t named = 0;

	if (n >= 0)
		ids[n++] = getgid();
	for (int i = 0; i < n && result == 0; i++) {
		const struct group *group = getgrgid(ids[i]);

		if (group == NULL)
			continue;
		list[named] = strdup(group->gr_name);
		if (list[named] == NULL)
			result = -ENOMEM;
		else
			named++;
	}
	if (result < 0) {
		allow_groups_free(list, named);
		return result;
	}
	*names = list;
	*count = named;
	return 0;
}

static int read_trusted(char **text, size_t *len, struct err *e)
{
	struct stat st;

	if (lstat(ALLOW_FILE, &st) < 0)
		return err_set(
			e, -EPERM,
			"Only root may stop the programs of others: there is no " ALLOW_FILE);
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, -EPERM,
			       ALLOW_FILE " is not heeded: others than root can change it");
	return file_read(ALLOW_FILE, ALLOW_MOST, text, len, e);
}

int allow_check(const char *program, struct err *e)
{
	const struct passwd *entry = getpwuid(getuid());
	char *text cleanup(free_at) = NULL;
	char **groups = NULL;
	size_t len = 0, ngroups = 0;
	bool allowed = false;
	int result = read_trusted(&text, &len, e);

	if (result < 0)
		return result;
	result = allow_groups(&groups, &ngroups);
	if (result < 0)
		return err_sys(e, result, "Your groups can't be found");
	if (entry != NULL) {
		struct allow_user user = {entry->pw_name, (const char *const *)groups, ngroups};

		allowed = allow_says(text, len, &user, program);
	}
	allow_groups_free(groups, ngroups);
	if (!allowed)
		return err_set(e, -EPERM, "You may not stop %s: no line of " ALLOW_FILE " says so",
			       program);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "portmirror/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/yaml.h"

#define FILE_MAX ((size_t)1 << 20)
#define SUFFIX	 ".yaml"

/* The same root, however it is spelled, has the same kernel state. */
static int house_of(const char *root, uint32_t *house)
{
	char *real cleanup(free_at) = *root ? realpath(root, NULL) : NULL;
	const char *name = real ? real : root;
	uint64_t hash;

	if (*root && !real && errno == ENOMEM)
		return -ENOMEM;
	*house = 0;
	if (strcmp(name, "") == 0 || strcmp(name, "/") == 0)
		return 0;
	hash = hash_bytes(HASH_START, name, strlen(name));
	*house = (uint32_t)(hash ^ hash >> 32) | 1;
	return 0;
}

int store_open(const char *root, struct store *store, struct err *e)
{
	struct store s = {0};

	if (!root || strcmp(root, "/") == 0)
		root = "";
	s.saved = string_fmt("%s/etc/portmirror/sessions.d", root);
	s.runtime = string_fmt("%s/run/portmirror/sessions.d", root);
	s.notes = string_fmt("%s/run/portmirror/undo.json", root);
	s.lock = string_fmt("%s/run/portmirror/lock", root);
	if (!s.saved || !s.runtime || !s.notes || !s.lock || house_of(root, &s.house) < 0) {
		store_close(&s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	*store = s;
	return 0;
}

void store_close(struct store *store)
{
	free(store->saved);
	free(store->runtime);
	free(store->notes);
	free(store->lock);
	*store = (struct store){0};
}

void sessions_free(struct sessions *sessions)
{
	for (size_t i = 0; i < sessions->count; i++) {
		session_free(&sessions->items[i].session);
		free(sessions->items[i].broken);
	}
	free(sessions->items);
	*sessions = (struct sessions){0};
}

struct saved *sessions_find(const struct sessions *sessions, const char *name)
{
	for (size_t i = 0; i < sessions->count; i++)
		if (strcmp(sessions->items[i].session.name, name) == 0)
			return &sessions->items[i];
	return NULL;
}

void sessions_drop(struct sessions *sessions, const char *name)
{
	struct saved *found = sessions_find(sessions, name);
	size_t at;

	if (!found)
		return;
	at = (size_t)(found - sessions->items);
	session_free(&found->session);
	free(found->broken);
	memmove(found, found + 1, (sessions->count - at - 1) * sizeof(*found));
	sessions->count--;
}

/* Takes session and broken over, also where it fails. */
static int put(struct sessions *sessions, struct session *session, char *broken)
{
	size_t at = 0;

	sessions_drop(sessions, session->name);
	if (array_room(&sessions->items, &sessions->room, sessions->count,
		       sizeof(*sessions->items)) < 0) {
		session_free(session);
		free(broken);
		return -ENOMEM;
	}
	while (at < sessions->count && strcmp(sessions->items[at].session.name, session->name) < 0)
		at++;
	memmove(&sessions->items[at + 1], &sessions->items[at],
		(sessions->count - at) * sizeof(*sessions->items));
	sessions->items[at] = (struct saved){*session, broken};
	sessions->count++;
	*session = (struct session){0};
	return 0;
}

int sessions_put(struct sessions *sessions, struct session *session)
{
	return put(sessions, session, NULL);
}

/* One document of a file as a session. fallback: the name where the document has none; NULL: it
 * must have one. */
static int read_doc(const struct yaml_doc *doc, const char *path, const char *fallback,
		    struct session *session, struct err *e)
{
	char field[SESSION_FIELD] = "";
	int r = session_read(doc->value, fallback, session, field, e);

	if (r < 0)
		return err_where(e, "%s:%u", path, yaml_line(doc, field));
	return 0;
}

int store_read_file(const char *path, char **text, size_t *len, struct err *e)
{
	struct stat st;

	/* A FIFO would keep us for ever. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is no regular file", path);
	return file_read(path, FILE_MAX, text, len, e);
}

static int read_one(const char *path, const char *name, struct session *session, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	size_t len = 0;
	int r;

	r = store_read_file(path, &text, &len, e);
	if (r < 0)
		return r;
	r = yaml_read(text, len, path, &docs, e);
	if (r < 0)
		return r;
	if (docs.count != 1)
		return err_set(e, -EINVAL, "%s: holds %zu sessions instead of one", path,
			       docs.count);
	return read_doc(&docs.items[0], path, name, session, e);
}

int store_name_of(const char *file, char name[SESSION_NAME_MAX + 1], struct err *e)
{
	size_t len = strlen(file), suffix = strlen(SUFFIX);
	char called[NAME_MAX + 1];
	int r;

	if (len < suffix || strcmp(file + len - suffix, SUFFIX) != 0)
		return err_set(e, -EINVAL, "its name doesn't end in " SUFFIX);
	snprintf(called, sizeof(called), "%.*s", (int)(len - suffix), file);
	r = session_check_name(called, e);
	if (r == 0)
		memcpy(name, called, strlen(called) + 1);
	return r;
}

static int load_file(const char *folder, const char *file, bool runtime, struct sessions *sessions,
		     struct err *e)
{
	char name[SESSION_NAME_MAX + 1];
	char *path cleanup(free_at) = NULL;
	struct session session = {0};
	char *broken = NULL;
	struct err why = {0};

	if (store_name_of(file, name, NULL) < 0)
		return 0; /* the doctor hints at it */
	path = string_fmt("%s/%s", folder, file);
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	if (read_one(path, name, &session, &why) < 0) {
		if (why.code == -ENOMEM)
			return err_set(e, -ENOMEM, "out of memory");
		if (why.code == -ENOENT)
			return 0; /* removed since the folder was read */
		broken = strdup(why.text);
		if (!broken)
			return err_set(e, -ENOMEM, "out of memory");
		memcpy(session.name, name, sizeof(name));
	}
	session.runtime = runtime;
	if (put(sessions, &session, broken) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static void dir_close_at(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Calls load_file() for all of a folder; a folder that is not there is empty. */
static int load_folder(const char *folder, bool runtime, struct sessions *sessions, struct err *e)
{
	DIR *dir cleanup(dir_close_at) = opendir(folder);

	if (!dir)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", folder);
	for (;;) {
		struct dirent *entry;
		int r;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? err_sys(e, -errno, "%s", folder) : 0;
		r = load_file(folder, entry->d_name, runtime, sessions, e);
		if (r < 0)
			return r;
	}
}

int store_load(const struct store *store, struct sessions *sessions, struct err *e)
{
	struct sessions found = {0};
	int r;

	/* The lasting one comes second: it stands where both folders hold the name. */
	r = load_folder(store->runtime, true, &found, e);
	if (r == 0)
		r = load_folder(store->saved, false, &found, e);
	if (r < 0) {
		sessions_free(&found);
		return r;
	}
	*sessions = found;
	return 0;
}

/* What a session is called that says it nowhere: as its file, where it is the only one there. */
static const char *called_as_file(const struct yaml_docs *docs, const char *path,
				  char name[SESSION_NAME_MAX + 1])
{
	const char *slash = strrchr(path, '/');
	bool alone = docs->count == 1 && !json_object_get(docs->items[0].value, "name");

	return alone && store_name_of(slash ? slash + 1 : path, name, NULL) == 0 ? name : NULL;
}

/* All documents of one text. */
static int read_text(const char *text, size_t len, const char *path, struct sessions *sessions,
		     struct err *e)
{
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	char name[SESSION_NAME_MAX + 1];
	int r = yaml_read(text, len, path, &docs, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < docs.count; i++) {
		struct session session = {0};

		r = read_doc(&docs.items[i], path, called_as_file(&docs, path, name), &session, e);
		if (r < 0)
			return r;
		if (sessions_find(sessions, session.name)) {
			err_set(e, -EEXIST, "%s:%u: a second session named %s", path,
				yaml_line(&docs.items[i], "name"), session.name);
			session_free(&session);
			return -EEXIST;
		}
		if (sessions_put(sessions, &session) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

const char *store_called(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

static int read_stream(struct sessions *sessions, struct err *e)
{
	struct buf b cleanup(buf_free) = {0};
	char part[4096];
	size_t len;

	while (buf_status(&b) == 0 && (len = fread(part, 1, sizeof(part), stdin)) > 0) {
		buf_add(&b, part, len);
		if (b.len > FILE_MAX)
			return err_set(e, -EFBIG, "standard input: more than %zu bytes", FILE_MAX);
	}
	if (ferror(stdin))
		return err_sys(e, errno ? -errno : -EIO, "standard input");
	if (buf_status(&b) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return read_text(buf_text(&b), b.len, "standard input", sessions, e);
}

static int read_file(const char *path, struct sessions *sessions, struct err *e)
{
	char *text cleanup(free_at) = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len, e);

	return r < 0 ? r : read_text(text, len, path, sessions, e);
}

static int is_yaml(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > strlen(SUFFIX) &&
	       strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static int read_folder(const char *folder, struct sessions *sessions, struct err *e)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_yaml, alphasort);
	int r = count < 0 ? err_sys(e, -errno, "%s", folder) : 0;

	for (int i = 0; i < count; i++) {
		char *path cleanup(free_at) = string_fmt("%s/%s", folder, entries[i]->d_name);

		if (r == 0)
			r = path ? read_file(path, sessions, e)
				 : err_set(e, -ENOMEM, "out of memory");
		free(entries[i]);
	}
	free(entries);
	return r;
}

int store_read_path(const char *path, struct sessions *sessions, struct err *e)
{
	struct sessions found = {0};
	struct stat st;
	int r;

	if (strcmp(path, "-") == 0)
		r = read_stream(&found, e);
	else if (stat(path, &st) < 0)
		r = err_sys(e, -errno, "%s", path);
	else if (S_ISDIR(st.st_mode))
		r = read_folder(path, &found, e);
	else
		r = read_file(path, &found, e);
	if (r == 0 && found.count == 0)
		r = err_set(e, -ENODATA, "%s: holds no session", store_called(path));
	if (r < 0) {
		sessions_free(&found);
		return r;
	}
	*sessions = found;
	return 0;
}

char *store_path(const struct store *store, const struct session *session)
{
	return string_fmt("%s/%s" SUFFIX, session->runtime ? store->runtime : store->saved,
			  session->name);
}

int store_write_file(const char *path, const char *text, size_t len, struct err *e)
{
	int r = file_rewrite(path, text, len, 0644, e);
	struct stat st;

	/* Whoever watches the folder sees nothing of what happens behind a link. */
	if (r == 0 && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		(void)utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
	return r;
}

/* The lines of a text, with "suspended" as given. */
static void put_lines(const char *text, bool suspended, struct buf *out)
{
	for (size_t len; *text; text += len) {
		len = strcspn(text, "\n");
		if (strncmp(text, "suspended:", strlen("suspended:")) != 0)
			buf_fmt(out, "%.*s\n", (int)len, text);
		len += text[len] == '\n';
	}
	if (suspended)
		buf_str(out, "suspended: true\n");
}

/* 1: the text says just what the session is; 0: something else; or -ENOMEM. */
static int says(const struct buf *text, const struct session *session)
{
	struct session said cleanup(session_free) = {0};
	struct yaml_docs docs cleanup(yaml_docs_free) = {0};
	json_t *object cleanup(json_free_at) = NULL, *wanted cleanup(json_free_at) = NULL;
	char field[SESSION_FIELD];
	int r = yaml_read(buf_text(text), text->len, "", &docs, NULL);

	if (r == 0 && docs.count == 1)
		r = session_read(docs.items[0].value, session->name, &said, field, NULL);
	if (r < 0 || docs.count != 1)
		return r == -ENOMEM ? r : 0;
	said.runtime = session->runtime; /* the folder decides */
	object = session_object(&said, true);
	wanted = session_object(session, true);
	return wanted && object ? json_equal(wanted, object) : -ENOMEM;
}

/* What stands in the file already stays, with its remarks, where "suspended" alone makes the
 * difference. 1: it does, and that is the text; 0: it doesn't; or -ENOMEM. */
static int put_kept(const char *path, const struct session *session, struct buf *text)
{
	char *before cleanup(free_at) = NULL;
	size_t len;
	int r = store_read_file(path, &before, &len, NULL);

	if (!before)
		return r == -ENOMEM ? r : 0;
	put_lines(before, session->suspended, text);
	return buf_status(text) < 0 ? -ENOMEM : says(text, session);
}

static int put_text(const char *path, const struct session *session, struct buf *text,
		    struct err *e)
{
	json_t *object cleanup(json_free_at) = NULL;
	int r = put_kept(path, session, text);

	if (r == 0) {
		buf_clear(text);
		object = session_object(session, false);
		r = object ? yaml_write(object, text, e) : -ENOMEM;
	}
	return r == -ENOMEM ? err_set(e, r, "out of memory") : r;
}

int store_save(const struct store *store, const struct session *session, struct err *e)
{
	char *path cleanup(free_at) = store_path(store, session);
	struct buf text cleanup(buf_free) = {0};
	int r;

	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	r = put_text(path, session, &text, e);
	if (r >= 0)
		r = folder_make(session->runtime ? store->runtime : store->saved, 0755, e);
	return r < 0 ? r : store_write_file(path, buf_text(&text), text.len, e);
}

int store_remove(const struct store *store, const struct session *session, struct err *e)
{
	char *path cleanup(free_at) = store_path(store, session);
	char *hidden cleanup(free_at) = string_fmt("%s/%s" SUFFIX, store->runtime, session->name);
	int r;

	if (!path || !hidden)
		return err_set(e, -ENOMEM, "out of memory");
	/* First one of the same name for this boot only, which would come forth. */
	r = session->runtime ? 0 : file_remove(hidden, NULL);
	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "can't remove %s", hidden);
	return file_remove(path, e);
}

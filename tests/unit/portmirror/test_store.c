/* SPDX-License-Identifier: MIT */
/* What is kept in files: sessions, notes, and what is read of others'. */
#include "portmirror/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"
#include "portmirror/events.h"
#include "portmirror/facts.h"
#include "portmirror/facts_nm.h"
#include "portmirror/host.h"
#include "portmirror/notes.h"

static char root[] = "/tmp/store-XXXXXX";

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* Of a file below the root, made with its folders. */
static const char *file_with(const char *name, const char *text)
{
	static char path[200];
	char *slash;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_true(folder_make(path, 0755, NULL) >= 0);
	*slash = '/';
	assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
	return path;
}

static struct session session_named(const char *name)
{
	struct session s = {.direction = DIRECTION_BOTH};

	snprintf(s.name, sizeof(s.name), "%s", name);
	s.from = calloc(1, sizeof(*s.from));
	s.to = calloc(1, sizeof(*s.to));
	assert_non_null(s.from);
	assert_non_null(s.to);
	s.nfrom = s.nto = 1;
	assert_int_equal(selector_parse("vm:web1", s.from, NULL), 0);
	assert_int_equal(selector_parse("port:ids0", s.to, NULL), 0);
	return s;
}

static void a_root_has_one_house(void **state)
{
	struct store here cleanup(store_close) = {0}, slash cleanup(store_close) = {0};
	struct store there cleanup(store_close) = {0}, again cleanup(store_close) = {0};
	char spelled[64];

	(void)state;
	snprintf(spelled, sizeof(spelled), "%s/../%s/", root, strrchr(root, '/') + 1);
	assert_int_equal(scarce(store_open(NULL, &here, NULL)), 0);
	assert_int_equal(scarce(store_open("/", &slash, NULL)), 0);
	assert_int_equal(scarce(store_open(root, &there, NULL)), 0);
	assert_int_equal(scarce(store_open(spelled, &again, NULL)), 0);
	assert_string_equal(slash.saved, "/etc/portmirror/sessions.d");
	assert_int_equal(here.house, 0);
	assert_int_equal(slash.house, 0);
	assert_int_not_equal(there.house, 0);
	assert_int_equal(again.house, there.house);
}

static void what_is_saved_is_loaded(void **state)
{
	struct store store cleanup(store_close) = {0};
	struct session lasting cleanup(session_free) = session_named("web");
	struct session passing cleanup(session_free) = session_named("db");
	struct sessions sessions cleanup(sessions_free) = {0};

	(void)state;
	passing.runtime = true;
	assert_int_equal(store_open(root, &store, NULL), 0);
	assert_int_equal(scarce(store_load(&store, &sessions, NULL)), 0);
	assert_int_equal(sessions.count, 0);
	assert_int_equal(scarce(store_save(&store, &lasting, NULL)), 0);
	assert_int_equal(scarce(store_save(&store, &passing, NULL)), 0);
	file_with("etc/portmirror/sessions.d/broken.yaml", "from: [\n");
	file_with("etc/portmirror/sessions.d/no session", "");
	sessions_free(&sessions);
	assert_int_equal(scarce(store_load(&store, &sessions, NULL)), 0);
	assert_int_equal(sessions.count, 3);
	assert_non_null(strstr(sessions_find(&sessions, "broken")->broken, "broken.yaml:"));
	assert_true(session_equal(&sessions_find(&sessions, "web")->session, &lasting));
	assert_true(sessions_find(&sessions, "db")->session.runtime);
	assert_int_equal(scarce(store_remove(&store, &passing, NULL)), 0);
	sessions_free(&sessions);
	assert_int_equal(store_load(&store, &sessions, NULL), 0);
	assert_null(sessions_find(&sessions, "db"));
}

static void assert_text(const char *path, const char *wanted)
{
	char *text cleanup(free_at) = NULL;
	size_t len;

	assert_int_equal(file_read(path, 4096, &text, &len, NULL), 0);
	assert_string_equal(text, wanted);
}

/* Where the file differs from the session in "suspended" alone. */
static void remarks_are_kept(void **state)
{
	static const struct {
		const char *before, *after; /* NULL: anew */
	} files[] = {
		{"# 4711\nfrom: vm:web1 # web\nto: port:ids0",
		 "# 4711\nfrom: vm:web1 # web\nto: port:ids0\nsuspended: true\n"},
		{"---\nsuspended: false\nto: port:ids0\n# :\nfrom: [vm:web1]\n",
		 "---\nto: port:ids0\n# :\nfrom: [vm:web1]\nsuspended: true\n"},
		{"from: vm:web2\nto: port:ids0\n", NULL},
		{"{from: vm:web1, to: port:ids0}\n", NULL},
		{"from: vm:web1\nto: port:ids0\n---\n", NULL},
		{"from: vm:web1\nto: port:ids0\n...\n", NULL},
		{"frm: vm:web1\nto: port:ids0\n", NULL},
		{"", NULL},
	};
	struct store store cleanup(store_close) = {0};
	struct session session cleanup(session_free) = session_named("kept");
	const char *path;

	(void)state;
	assert_int_equal(store_open(root, &store, NULL), 0);
	for (size_t i = 0; i < COUNT(files); i++) {
		path = file_with("etc/portmirror/sessions.d/kept.yaml", files[i].before);
		session.suspended = true;
		assert_int_equal(scarce(store_save(&store, &session, NULL)), 0);
		assert_text(path, files[i].after ? files[i].after
						 : "name: kept\nfrom:\n  - vm:web1\n"
						   "to: port:ids0\nsuspended: true\n");
	}
	path = file_with("etc/portmirror/sessions.d/kept.yaml",
			 "# 4711\nsuspended: true\nfrom: vm:web1\nto: port:ids0\n");
	session.suspended = false;
	assert_int_equal(store_save(&store, &session, NULL), 0);
	assert_text(path, "# 4711\nfrom: vm:web1\nto: port:ids0\n");
	assert_int_equal(store_remove(&store, &session, NULL), 0);
}

/* Where both folders have the name, neither is left. */
static void both_files_of_a_name_go(void **state)
{
	struct store store cleanup(store_close) = {0};
	struct session session cleanup(session_free) = session_named("both");
	struct sessions sessions cleanup(sessions_free) = {0};

	(void)state;
	assert_int_equal(store_open(root, &store, NULL), 0);
	session.runtime = true;
	assert_int_equal(store_save(&store, &session, NULL), 0);
	session.runtime = false;
	assert_int_equal(store_save(&store, &session, NULL), 0);
	assert_int_equal(scarce(store_remove(&store, &session, NULL)), 0);
	assert_int_equal(store_load(&store, &sessions, NULL), 0);
	assert_null(sessions_find(&sessions, "both"));
}

static const char *to_remove; /* below the folder, as soon as its name is read */

struct dirent *__real_readdir64(DIR *folder);
struct dirent *__wrap_readdir64(DIR *folder);

struct dirent *__wrap_readdir64(DIR *folder)
{
	struct dirent *entry = __real_readdir64(folder);

	if (entry && to_remove && strcmp(entry->d_name, to_remove) == 0) {
		assert_int_equal(unlinkat(dirfd(folder), to_remove, 0), 0);
		to_remove = NULL;
	}
	return entry;
}

/* Somebody removes a file while the folder is read. */
static void a_file_that_is_gone_by_then(void **state)
{
	struct store store cleanup(store_close) = {0};
	struct sessions sessions cleanup(sessions_free) = {0};

	(void)state;
	file_with("etc/portmirror/sessions.d/gone.yaml", "from: vm:web1\nto: port:ids0\n");
	assert_int_equal(store_open(root, &store, NULL), 0);
	assert_int_equal(store_load(&store, &sessions, NULL), 0);
	assert_non_null(sessions_find(&sessions, "gone"));
	sessions_free(&sessions);
	to_remove = "gone.yaml";
	assert_int_equal(store_load(&store, &sessions, NULL), 0);
	assert_null(to_remove);
	assert_true(sessions.count > 0);
	assert_null(sessions_find(&sessions, "gone"));
}

static void folders_and_files_are_read(void **state)
{
	struct sessions sessions cleanup(sessions_free) = {0};
	struct err e = {0};
	char folder[64];

	(void)state;
	file_with("sessions/b.yaml", "name: b\nfrom: [vm:web1]\nto: port:ids0\n---\n"
				     "name: c\nfrom: [vm:web2]\nto: port:ids0\n");
	file_with("sessions/a.yaml", "name: a\nfrom: [vm:web1]\nto: port:ids0\n");
	snprintf(folder, sizeof(folder), "%s/sessions", root);
	assert_int_equal(scarce(store_read_path(folder, &sessions, &e)), 0);
	assert_int_equal(sessions.count, 3);
	sessions_free(&sessions);
	file_with("sessions/d.yaml", "name: a\nfrom: [vm:web1]\nto: port:ids0\n");
	assert_int_equal(scarce(store_read_path(folder, &sessions, &e)), -EEXIST);
	assert_non_null(strstr(e.text, "d.yaml:1: a second session named a"));
	file_with("sessions/d.yaml", "from: [vm:web1]\nto: port:ids0\n");
	assert_int_equal(scarce(store_read_path(folder, &sessions, &e)), 0);
	assert_non_null(sessions_find(&sessions, "d"));
	sessions_free(&sessions);
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(store_read_path("d.yaml", &sessions, &e), 0);
	assert_string_equal(sessions.items[0].session.name, "d");
	sessions_free(&sessions);
	file_with("sessions/d.yaml", "from: [vm:web1]\nto: port:ids0\n---\n"
				     "name: e\nfrom: [vm:web1]\nto: port:ids0\n");
	assert_int_equal(store_read_path("d.yaml", &sessions, &e), -EINVAL);
	file_with("sessions/d.conf", "from: [vm:web1]\nto: port:ids0\n");
	assert_int_equal(store_read_path("d.conf", &sessions, &e), -EINVAL);
	assert_int_equal(chdir("/"), 0);
}

static int stdin_anew(struct sessions *sessions, struct err *e)
{
	rewind(stdin);
	return store_read_path("-", sessions, e);
}

static void standard_input_is_read(void **state)
{
	struct sessions sessions cleanup(sessions_free) = {0};
	struct err e = {0};

	(void)state;
	assert_non_null(
		freopen(file_with("in", "name: a\nfrom: [vm:web1]\nto: port:ids0\n"), "re", stdin));
	assert_int_equal(scarce(stdin_anew(&sessions, &e)), 0);
	assert_int_equal(sessions.count, 1);
	assert_non_null(freopen(file_with("in", ""), "re", stdin));
	assert_int_equal(stdin_anew(&sessions, &e), -ENODATA);
	assert_non_null(strstr(e.text, "standard input: holds no session"));
	assert_non_null(freopen(root, "re", stdin));
	assert_int_equal(store_read_path("-", &sessions, &e), -EISDIR);
	assert_string_equal(e.text, "standard input: Is a directory");
	assert_int_equal(store_read_path("/nonexistent", &sessions, &e), -ENOENT);
	assert_string_equal(e.text, "/nonexistent: No such file or directory");
}

static int notes_anew(const char *path, struct notes *notes, struct err *e)
{
	notes_free(notes);
	return notes_read(path, notes, e);
}

static void notes_are_kept(void **state)
{
	static const struct note qdisc = {
		.ifindex = 7, .port = "vnet\"1", .qdisc = "clsact", .parent = 1, .handle = 2};
	static const struct note isolate = {
		.kind = NOTE_ISOLATE, .ifindex = 3, .port = "ids0", .flags = 5};
	struct notes notes cleanup(notes_free) = {0}, back cleanup(notes_free) = {0};
	struct notes copy cleanup(notes_free) = {0};
	const char *path = file_with("run/portmirror/undo.json", "{\"boot\":1}");
	struct err e = {0};

	(void)state;
	assert_int_equal(notes_read(path, &back, &e), -EBADMSG);
	assert_int_equal(scarce(notes_add(&notes, &qdisc)), 0);
	assert_int_equal(scarce(notes_add(&notes, &isolate)), 0);
	assert_int_equal(scarce(notes_write(path, &notes, &e)), 0);
	assert_int_equal(scarce_or(notes_equal(&back, &notes), notes_anew(path, &back, &e)), 0);
	assert_int_equal(back.count, 2);
	assert_string_equal(notes_qdisc(&back, 7, 1, "clsact")->port, "vnet?1");
	assert_int_equal(notes_isolate(&back, 3)->flags, 5);
	assert_int_equal(scarce(notes_copy(&copy, &notes)), 0);
	assert_true(notes_equal(&copy, &notes));
	copy.count = 0;
	assert_int_equal(scarce(notes_write(path, &copy, &e)), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* The file with what is there as another network namespace's. */
static void make_foreign(const char *path)
{
	char *text cleanup(free_at) = NULL;
	json_t *object cleanup(json_free_at) = NULL;
	size_t len;

	assert_int_equal(file_read(path, 4096, &text, &len, NULL), 0);
	object = json_loads(text, 0, NULL);
	assert_int_equal(json_object_set_new(object, "netns", json_integer(1)), 0);
	free(take(text));
	text = json_dumps(object, JSON_COMPACT);
	(void)file_with("run/portmirror/undo.json", text);
}

/* What is told of others, when it is to be written again. */
static void write_without_memory_for_others(const char *path, const struct notes *notes)
{
	char *text cleanup(free_at) = NULL;
	struct err e = {0};
	size_t len;

	assert_int_equal(file_read(path, 4096, &text, &len, NULL), 0);
	for (unsigned nth = 1; memory_refuse(&nth);) {
		char *now cleanup(free_at) = NULL;
		int r = notes_write(path, notes, &e);

		assert_int_equal(r, memory_refused() && r != 0 ? -ENOMEM : 0);
		assert_int_equal(file_read(path, 4096, &now, &len, NULL), 0);
		assert_string_equal(now, text);
	}
}

static void notes_of_other_namespaces_are_kept(void **state)
{
	static const struct note theirs = {
		.kind = NOTE_ISOLATE, .ifindex = 3, .port = "ids0", .flags = 5};
	static const struct note ours = {.ifindex = 3, .port = "vnet1", .qdisc = "clsact"};
	struct notes notes cleanup(notes_free) = {0}, back cleanup(notes_free) = {0};
	const char *path = file_with("run/portmirror/undo.json", "");
	char *text cleanup(free_at) = NULL;
	struct err e = {0};
	size_t len;

	(void)state;
	assert_int_equal(notes_add(&notes, &theirs), 0);
	assert_int_equal(notes_write(path, &notes, &e), 0);
	make_foreign(path);
	assert_int_equal(notes_anew(path, &back, &e), 0);
	assert_int_equal(back.count, 0);
	notes.items[0] = ours;
	for (int i = 0; i < 2; i++) { /* also with others there already */
		assert_int_equal(scarce(notes_write(path, &notes, &e)), 0);
		assert_int_equal(scarce_or(notes_equal(&back, &notes), notes_anew(path, &back, &e)),
				 0);
		assert_true(notes_equal(&back, &notes));
	}
	write_without_memory_for_others(path, &notes);
	notes.count = 0;
	assert_int_equal(scarce(notes_write(path, &notes, &e)), 0);
	assert_int_equal(notes_anew(path, &back, &e), 0);
	assert_int_equal(back.count, 0);
	assert_int_equal(file_read(path, 4096, &text, &len, &e), 0);
	assert_non_null(strstr(text, "\"others\":[{\"netns\":1,\"notes\":[{\"note\":\"isolate\""));
}

/* Of this boot and network namespace, but no notes: nothing of them is taken over. */
static void damaged_notes_are_told(void **state)
{
	static const char *const lists[] = {
		"{}",
		"1",
		"[{\"note\": \"other\", \"ifindex\": 3, \"port\": \"ids0\"}]",
		"[{\"note\": \"isolate\", \"ifindex\": 3, \"port\": \"a-name-beyond-15\"}]",
		"[{\"note\": \"isolate\", \"ifindex\": 3, \"port\": \"ids0\"}, 1]",
		"[{\"note\": \"qdisc\", \"ifindex\": 3, \"port\": \"ids0\", "
		"\"qdisc\": \"a-kind-beyond-15\"}]",
	};
	static const struct note isolate = {
		.kind = NOTE_ISOLATE, .ifindex = 3, .port = "ids0", .flags = 5};
	struct notes notes cleanup(notes_free) = {0};
	const char *path = file_with("run/portmirror/undo.json", "");
	struct err e = {0};
	char *text cleanup(free_at) = NULL;
	size_t len;
	json_t *object cleanup(json_free_at) = NULL;

	(void)state;
	assert_int_equal(notes_add(&notes, &isolate), 0);
	assert_int_equal(notes_write(path, &notes, &e), 0);
	assert_int_equal(file_read(path, 4096, &text, &len, &e), 0);
	object = json_loads(text, 0, NULL);
	for (size_t i = 0; i < COUNT(lists); i++) {
		char *damaged;
		struct notes found = {.count = 99};

		assert_int_equal(json_object_set_new(object, "notes",
						     json_loads(lists[i], JSON_DECODE_ANY, NULL)),
				 0);
		damaged = json_dumps(object, 0);
		(void)file_with("run/portmirror/undo.json", damaged);
		free(damaged);
		assert_int_equal(scarce_or(found.count == 99, notes_read(path, &found, &e)),
				 -EBADMSG);
		assert_non_null(strstr(e.text, path));
		assert_int_equal(found.count, 99);
	}
	/* The first of them again, where another namespace's notes are told first. */
	(void)json_object_set_new(object, "notes", json_array());
	(void)json_object_set_new(object, "others",
				  json_pack("[{s:O, s:{}}]", "netns",
					    json_object_get(object, "netns"), "notes"));
	(void)json_object_set_new(object, "netns", json_integer(1));
	free(take(text));
	text = json_dumps(object, 0);
	(void)file_with("run/portmirror/undo.json", text);
	assert_int_equal(notes_anew(path, &notes, &e), -EBADMSG);
	assert_int_equal(json_object_set_new(object, "boot", json_string("another")), 0);
	free(take(text));
	text = json_dumps(object, 0);
	(void)file_with("run/portmirror/undo.json", text);
	assert_int_equal(notes_anew(path, &notes, &e), 0);
	assert_int_equal(notes.count, 0); /* its devices are gone with that boot */
}

/* Facts are added to what there is. */
static int fights_anew(struct facts *facts)
{
	facts_free(facts);
	return facts_gather_fights(root, facts, NULL);
}

static void each_fight_is_told_once(void **state)
{
	struct facts facts cleanup(facts_free) = {0};
	struct events *events = NULL;
	const char *path = file_with("run/portmirror/events", "");

	(void)state;
	assert_int_equal(scarce(events_open(path, &events, NULL)), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(events_add(events, "fight", "ids", NULL, "vnet1: mended"), 0);
		assert_int_equal(events_add(events, "fight", "ids", NULL, "vnet11: mended"), 0);
		assert_int_equal(events_add(events, "repaired", "ids", NULL, "vnet2: so"), 0);
	}
	events_close(events);
	assert_int_equal(scarce_or(facts.nfights == 2, fights_anew(&facts)), 0);
	assert_int_equal(facts.nfights, 2);
	assert_string_equal(facts.fights[0].port, "vnet1");
	assert_string_equal(facts.fights[1].port, "vnet11");
	assert_string_equal(facts.fights[1].session, "ids");
}

/* A process of that name in our network namespace, until the descriptor is closed. */
static pid_t start_manager(int *until)
{
	int ends[2], ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[1]);
		prctl(PR_SET_NAME, "NetworkManager");
		_exit(write(ready[1], "", 1) != 1 || read(ends[0], &c, 1) != 0);
	}
	close(ends[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*until = ends[1];
	return pid;
}

static int connections_anew(const struct host *host, struct facts *facts)
{
	free(take(facts->devices[0].connection));
	free(take(facts->devices[1].connection));
	return facts_gather_nm(host, root, facts, NULL);
}

static void connections_of_network_manager(void **state)
{
	struct nl_link links[] = {{.index = 3, .name = "vnet1"}, {.index = 4, .name = "eth0"}};
	struct host host = {.links = {.items = links, .count = COUNT(links)}};
	struct fact_device devices[] = {{.ifindex = 3}, {.ifindex = 4}};
	struct facts facts = {.devices = devices, .count = COUNT(devices)};
	int until, status;
	pid_t pid;

	(void)state;
	file_with("etc/NetworkManager/system-connections/a.nmconnection",
		  "[connection]\nid=a\nuuid=11\ninterface-name=vnet1\n"
		  "[tc]\nqdisc.root=fq_codel\n");
	file_with("run/NetworkManager/system-connections/b.nmconnection",
		  "[connection]\nid=b\nuuid=22\n[tc]\nqdisc.ingress=clsact\n");
	file_with("run/NetworkManager/devices/4", "[device]\nconnection-uuid=22\n");
	pid = start_manager(&until);
	assert_int_equal(scarce(connections_anew(&host, &facts)), 0);
	close(until);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(devices[0].connection, "11");
	assert_string_equal(devices[1].connection, "22");
	free(devices[0].connection);
	free(devices[1].connection);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_root_has_one_house),
		cmocka_unit_test(what_is_saved_is_loaded),
		cmocka_unit_test(remarks_are_kept),
		cmocka_unit_test(both_files_of_a_name_go),
		cmocka_unit_test(a_file_that_is_gone_by_then),
		cmocka_unit_test(folders_and_files_are_read),
		cmocka_unit_test(standard_input_is_read),
		cmocka_unit_test(notes_are_kept),
		cmocka_unit_test(notes_of_other_namespaces_are_kept),
		cmocka_unit_test(damaged_notes_are_told),
		cmocka_unit_test(each_fight_is_told_once),
		cmocka_unit_test(connections_of_network_manager),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

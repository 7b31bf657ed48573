/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "stopexec/json.h"
#include "stopexec/preload.h"
#include "stopexec/verbs.h"

static const char own_group[] = "stopexec";

const struct cli_option preload_options[] = {
	{.name = "group",
	 .value = "GROUP",
	 .help = "who may use it (default: the group stopexec, made if need be)",
	 .letter = 'g'},
	{.name = "from",
	 .value = "DIR",
	 .help = "the folder that holds stop.so and stop32.so (default: " LIBRARIES ")"},
	{.name = "json", .help = "(status) as JSON: a list of objects"},
	{0},
};

static const char risk[] =
	"As long as it is installed, members of group %s can stop SUID programs with\n"
	"LD_PRELOAD=stop.so, at a moment of their choice, and its code runs before main in\n"
	"each of these. Take it away when you are done: stopexec preload remove\n";

static int make_group(const struct cli_call *call)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("groupadd", "groupadd", "--system", own_group, (char *)NULL);
		_exit(127);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return EXIT_OK;
	cli_complain(call, "The group %s could not be made (groupadd --system %s)", own_group,
		     own_group);
	return EXIT_FAILED;
}

static int find_group(const struct cli_call *call, const struct group **group)
{
	const char *name = cli_get(call, "group");

	if (name == NULL) {
		name = own_group;
		if (getgrnam(name) == NULL && make_group(call) != EXIT_OK)
			return EXIT_FAILED;
	}
	*group = getgrnam(name);
	if (*group == NULL) {
		cli_complain(call, "There is no group called \"%s\"", name);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static int failed(const struct cli_call *call, const struct err *e)
{
	cli_complain(call, "%s", e->text);
	return EXIT_FAILED;
}

/* Where what of the two kinds goes; folder "" for what does not. */
struct plan {
	struct preload_place places[PRELOAD_KINDS];
	char sources[PRELOAD_KINDS][PATH_MAX];
};

static int make_plan(const struct cli_call *call, struct plan *plan)
{
	static const char *const files[PRELOAD_KINDS] = {"stop.so", "stop32.so"};
	const char *from = cli_get(call, "from");
	struct err e = {0};

	if (preload_places(plan->places, &e) < 0)
		return failed(call, &e);
	for (size_t i = 0; i < PRELOAD_KINDS; i++) {
		char *folder = plan->places[i].folder;

		snprintf(plan->sources[i], PATH_MAX, "%s/%s", from != NULL ? from : LIBRARIES,
			 files[i]);
		if (i > 0 && access(plan->sources[i], F_OK) < 0)
			folder[0] = '\0'; /* no compiler for it was there */
		if (folder[0] != '\0' && (preload_check_folder(folder, &e) < 0 ||
					  preload_check_source(plan->sources[i], &e) < 0))
			return failed(call, &e);
	}
	return EXIT_OK;
}

static int install(const struct cli_call *call)
{
	const struct group *group;
	struct plan plan;
	struct err e = {0};

	if (make_plan(call, &plan) != EXIT_OK || find_group(call, &group) != EXIT_OK)
		return EXIT_FAILED;
	for (size_t i = 0; i < PRELOAD_KINDS; i++) {
		const struct preload_place *place = &plan.places[i];

		if (place->folder[0] == '\0')
			continue;
		if (preload_install(plan.sources[i], place->folder, group->gr_gid, &e) < 0)
			return failed(call, &e);
		printf("%s/stop.so (%s) is installed\n", place->folder, place->kind);
	}
	fprintf(stderr, risk, group->gr_name);
	return EXIT_OK;
}

static int remove_all(const struct cli_call *call)
{
	struct preload_place places[PRELOAD_KINDS];
	struct err e = {0};
	int removed = 0;

	if (preload_places(places, &e) < 0)
		return failed(call, &e);
	for (size_t i = 0; i < PRELOAD_KINDS; i++) {
		int result;

		if (places[i].folder[0] == '\0')
			continue;
		result = preload_remove(places[i].folder, &e);
		if (result < 0 && result != -ENOENT)
			return failed(call, &e);
		if (result == 0) {
			printf("%s/stop.so is removed\n", places[i].folder);
			removed++;
		}
	}
	if (removed == 0) {
		cli_complain(call, "No stop.so is installed");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static void print_group(gid_t gid)
{
	const struct group *group = getgrgid(gid);

	if (group == NULL) {
		printf("group %u", gid);
		return;
	}
	printf("group %s (", group->gr_name);
	for (size_t i = 0; group->gr_mem[i] != NULL; i++)
		printf("%s%s", i > 0 ? ", " : "", group->gr_mem[i]);
	printf("%s)", group->gr_mem[0] == NULL ? "nobody is in it" : "");
}

static void print_state(const struct preload_place *place, const struct preload_state *state)
{
	printf("%s: %s/stop.so ", place->kind, place->folder);
	if (!state->there) {
		puts("is not installed");
		return;
	}
	printf("mode %04o, user %u, ", state->mode, state->owner);
	print_group(state->group);
	if (state->hidden)
		puts(": only root and that group can tell what it is");
	else if (!state->ours)
		puts(": not the stop.so of stopexec");
	else if (!state->active)
		puts(": not set-user-ID, so SUID programs ignore it");
	else if (state->mode != PRELOAD_MODE)
		puts(": SUID programs take it, and for EVERYBODY");
	else
		puts(": SUID programs take it, for this group");
}

static void add_object(struct buf *b, const struct preload_place *place,
		       const struct preload_state *state)
{
	char mode[8];

	buf_str(b, b->len > 1 ? ",\n {" : "{");
	json_text(b, "kind", place->kind);
	json_text(b, "folder", place->folder);
	json_text(b, "state",
		  !state->there	   ? "missing"
		  : state->hidden  ? "hidden"
		  : !state->ours   ? "foreign"
		  : !state->active ? "inactive"
				   : "active");
	if (state->there) {
		snprintf(mode, sizeof(mode), "%04o", state->mode);
		json_text(b, "mode", mode);
		json_number(b, "uid", state->owner);
		json_number(b, "gid", state->group);
	}
	buf_char(b, '}');
}

static int status(const struct cli_call *call)
{
	bool json = cli_has(call, "json");
	struct buf text cleanup(buf_free) = {0};
	struct preload_place places[PRELOAD_KINDS];
	struct preload_state state;
	struct err e = {0};

	if (preload_places(places, &e) < 0)
		return failed(call, &e);
	buf_char(&text, '[');
	for (size_t i = 0; i < PRELOAD_KINDS; i++) {
		if (places[i].folder[0] == '\0')
			continue;
		if (preload_state(places[i].folder, &state, &e) < 0)
			return failed(call, &e);
		if (json)
			add_object(&text, &places[i], &state);
		else
			print_state(&places[i], &state);
	}
	buf_char(&text, ']');
	if (!json)
		return EXIT_OK;
	if (buf_status(&text) < 0)
		return failed(call, (err_sys(&e, -ENOMEM, "The state can't be told"), &e));
	(void)puts(text.data); /* where stdout takes nothing, that is told at our end */
	return EXIT_OK;
}

int verb_preload(const struct cli_call *call)
{
	static const struct {
		const char *name;
		int (*run)(const struct cli_call *call);
	} actions[] = {{"install", install}, {"remove", remove_all}, {"status", status}};

	for (size_t i = 0; i < COUNT(actions); i++) {
		if (strcmp(call->args[0], actions[i].name) != 0)
			continue;
		if (getuid() != 0 && actions[i].run != status) {
			cli_complain(call, "Only root can %s stop.so for SUID programs",
				     actions[i].name);
			return EXIT_FAILED;
		}
		return actions[i].run(call);
	}
	return cli_misused(call, "\"%s\" is none of install, remove, status", call->args[0]);
}

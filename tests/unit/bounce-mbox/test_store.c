/* SPDX-License-Identifier: MIT */
/* What is read from an archive, compared with another, and set aside: whole, or not at all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <cmocka.h>
#include <openssl/evp.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "bounce-mbox/prepare.h"
#include "bounce-mbox/rejects.h"
#include "bounce-mbox/report.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/store.h"
#include "bounce-mbox/verify.h"
#include "mail/header.h"
#include "memory/memory.h"

/* By the linker: what these libraries need can be refused, as one allocation each. */
static bool is_given(void)
{
	void *volatile room = malloc(1);
	bool given = room;

	free(room);
	return given;
}

#define REFUSABLE(type, none, name, parameters, arguments)                                         \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return is_given() ? __real_##name arguments : (none);                              \
	}

REFUSABLE(struct archive *, NULL, archive_read_new, (void), ())
REFUSABLE(EVP_MD_CTX *, NULL, EVP_MD_CTX_new, (void), ())
REFUSABLE(int, 0, EVP_Digest,
	  (const void *data, size_t len, unsigned char *digest, unsigned *size, const EVP_MD *type,
	   ENGINE *engine),
	  (data, len, digest, size, type, engine))

/* A file of that name is renamed while its directory is listed, and neither name is met. */
static const char *passed_over;

/* (As scandir() is called where off_t is large.) */
int __real_scandir64(const char *path, struct dirent ***entries,
		     int (*filter)(const struct dirent *entry),
		     int (*order)(const struct dirent **a, const struct dirent **b));
int __wrap_scandir64(const char *path, struct dirent ***entries,
		     int (*filter)(const struct dirent *entry),
		     int (*order)(const struct dirent **a, const struct dirent **b));
int __wrap_scandir64(const char *path, struct dirent ***entries,
		     int (*filter)(const struct dirent *entry),
		     int (*order)(const struct dirent **a, const struct dirent **b))
{
	int count = __real_scandir64(path, entries, filter, order);

	for (int i = 0; passed_over && i < count; i++) {
		if (strcmp((*entries)[i]->d_name, passed_over) != 0)
			continue;
		free((*entries)[i]);
		(*entries)[i] = (*entries)[--count];
		passed_over = NULL;
	}
	return count;
}

#define FROM	   "From - Sat Aug 23 10:00:00 2008\n"
#define DATE	   "Date: Sat, 23 Aug 2008 10:00:00 +0000\n"
#define MESSAGE(n) DATE "Message-ID: <" #n "@x>\nX-Mozilla-Keys: $label1 work\n\nx\n"

/* As MESSAGE(3) in an mbox. */
#define GZ                                                                                         \
	"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x73\x2b\xca\xcf\x55\xd0\x55\x08\x4e\x2c"         \
	"\x51\x70\x2c\x4d\x57\x30\x32\x56\x30\x34\xb0\x32\x00\x21\x05\x23\x03\x03\x0b\x2e"         \
	"\x97\xc4\x92\x54\x2b\x90\xb4\x0e\x48\x0e\xac\x04\x28\x8c\x50\xa4\x6d\x00\x04\x5c"         \
	"\xbe\xa9\xc5\xc5\x89\xe9\xa9\xba\x9e\x2e\x56\x0a\x36\xc6\x0e\x15\x76\x5c\x5c\x15"         \
	"\x5c\x00\x5f\xc4\xfb\x74\x5b\x00\x00\x00"

/* A file, in the working folder, and the folders on its way. */
static void put(const char *path, const char *text, size_t len)
{
	char folder[200];
	const char *slash = strrchr(path, '/');

	if (slash) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		assert_int_equal(folder_make(folder, 0700, NULL), 0);
	}
	assert_int_equal(file_write(path, text, len, 0600, NULL), 0);
}

#define PUT(path, text) put(path, text, sizeof(text) - 1)

/* Each test has an empty folder of its own as the working folder. */
static int enter(void **state)
{
	static char folder[40];

	snprintf(folder, sizeof(folder), "/tmp/test-store-XXXXXX");
	*state = folder;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", (char *)*state);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* A profile with mail of every kind, one account being elsewhere. */
static void make_profile(void)
{
	char here[100], prefs[400];

	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(prefs, sizeof(prefs),
		 "user_pref(\"mail.server.server1.directory\", \"%s/outside\");\n"
		 "user_pref(\"mail.server.server2.directory\", \"%s/nowhere\");\n",
		 here, here);
	put("profile/prefs.js", prefs, strlen(prefs));
	PUT("outside/Old", FROM MESSAGE(0) "\n");
	PUT("profile/Mail/Local/Inbox", FROM MESSAGE(1) "\n" FROM MESSAGE(2) "\n");
	PUT("profile/Mail/Local/Inbox.msf", "// an index\n");
	PUT("profile/Mail/Local/Inbox.sbd/Deep.gz", GZ);
	PUT("profile/Mail/Local/Many/cur/1:2,Sa", MESSAGE(4));
	PUT("profile/Mail/Local/Many/new/2", MESSAGE(5));
	PUT("profile/Mail/Local/Many/tmp/3", "half of");
	PUT("profile/Mail/Local/Many/dovecot-keywords", "0 later\n1 never\n");
	PUT("profile/Mail/Local/Many/.Sub.W&APY-rk/cur/4:2,", MESSAGE(6));
	PUT("profile/Mail/Local/Many/.Sub.W&APY-rk/new/.keep", "");
	PUT("profile/Mail/Local/.Inbox.directory/Kept/cur/5:2,", MESSAGE(8));
	PUT("profile/Mail/Local/.Inbox.directory/Kept/new/.keep", "");
	PUT("profile/Mail/Local/.Sent/cur/6:2,", MESSAGE(9));
	PUT("profile/Mail/Local/.git/HEAD", "none of ours");
	PUT("profile/Mail/Local/Letters/6.eml", DATE "Message-ID:\n <7@x>\n\nx\n");
	PUT("profile/Mail/Local/Letters/notes", "none of ours");
	PUT("profile/Mail/Local/Letters/9.eml", "");
	PUT("profile/Mail/Local/Many/cur/9/notes", "none of ours");
	assert_int_equal(mkfifo("profile/Mail/Local/Letters/8.eml", 0600),
			 0); /* for which nobody waits */
	assert_int_equal(symlink("Letters", "profile/Mail/Local/Link"), 0);
}

static const struct store_wishes wishes = {.temporary = "/tmp"};
static const struct mail_names nothing;
static const struct cleaning cleaning = {.remove = &nothing};

/* Reads all of it, and prepares each message; the ids, in their order. */
static int read_all(const char *path, struct buf *ids, struct err *e)
{
	struct store store;
	struct prepared p = {0};
	int r = store_open(&store, path, &wishes, e);

	buf_clear(ids);
	for (size_t i = 0; i < store.count && r == 0; i++) {
		r = prepare(&p, &store, store_item(&store, i), &cleaning, e);
		buf_fmt(ids, "%s:%s%s ", r == 0 ? p.id : "?",
			store.folders[store_item(&store, i)->folder].name, buf_text(&p.keywords));
	}
	prepared_free(&p);
	store_free(&store);
	return r < 0 ? r : buf_status(ids);
}

static void test_reads_without_memory(void **state)
{
	struct buf ids cleanup(buf_free) = {0};
	struct err e = {0};

	(void)state;
	make_profile();
	assert_int_equal(scarce(read_all("profile", &ids, &e)), 0);
	assert_string_equal(buf_text(&ids),
			    "<8@x>:Local/Inbox/Kept $label1 work <9@x>:Local/Sent $label1 work "
			    "<1@x>:Local/Inbox $label1 work <2@x>:Local/Inbox $label1 work "
			    "<3@x>:Local/Inbox/Deep <7@x>:Local/Letters "
			    "<4@x>:Local/Many later $label1 work <5@x>:Local/Many $label1 work "
			    "<6@x>:Local/Many/Sub/W\xc3\xb6rk $label1 work "
			    "<0@x>:outside/Old $label1 work ");
}

/* Where the system can't read it, that is said, and whose fault it is. */
static void test_reads_no_further(void **state)
{
	struct store store = {.fd = -1};
	const struct store_wishes no_room = {.temporary = "/proc/nowhere"};
	struct mbox_message large = {.len = UINT64_C(1) << 44};
	struct err e = {0};
	size_t folder = 0;
	int ends[2], closed = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(system("head -c 3000000 /dev/zero | gzip >half.gz"), 0);
	assert_int_equal(truncate("half.gz", 2000), 0);
	assert_int_equal(store_open(&store, "half.gz", &wishes, &e), -EINVAL);
	assert_non_null(strstr(e.text, "cannot unpack half.gz: "));
	store_free(&store);

	/* a Content-Length that leads beyond what can be looked at: a pipe has no places */
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], FROM "Content-Length: 99\n\nx\n", 53), 53);
	close(ends[1]);
	assert_int_equal(store_add_mbox(&store, "", "a pipe", ends[0], &wishes, &e), -ESPIPE);
	assert_string_equal(e.text, "cannot read a pipe: Illegal seek");
	store_free(&store);

	assert_int_equal(store_add_letter(&store, "a.emlx", fcntl(closed, F_DUPFD_CLOEXEC, 3),
					  &wishes, &e),
			 -EBADF);
	assert_string_equal(e.text, "cannot read a.emlx: Bad file descriptor");
	assert_int_equal(store_add_letter(&store, "a.eml", closed, &wishes, &e), -EBADF);
	assert_string_equal(e.text, "cannot read a.eml: Bad file descriptor");
	store_free(&store);

	assert_int_equal(store_add_folder(&store, "", "huge", FOLDER_MBOX, &folder, &e), 0);
	assert_int_equal(store_add_item(&store, folder, &large, 0, &wishes, &e), -EFBIG);
	assert_int_equal(store.count, 0);
	store_free(&store);

	assert_int_equal(scarce(store_temporary("/proc/nowhere", ends, &e)), -ENOENT);
	PUT("whole.gz", GZ);
	assert_int_equal(store_open(&store, "whole.gz", &no_room, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/proc/nowhere"));
	assert_int_equal(store.count, 0);
	store_free(&store);
}

/* The owner of a Maildir reads, and deletes, mail while it is listed. */
static void use_maildir(void *data, const char *what, const char *name, uint64_t bytes)
{
	unsigned *told = data;

	(void)what;
	(void)name;
	(void)bytes;
	if ((*told)++ > 0)
		return;
	assert_int_equal(rename("used/cur/2:2,", "used/cur/2:2,S"), 0);
	assert_int_equal(rename("used/new/3", "used/cur/3:2,S"), 0);
	assert_int_equal(unlink("used/cur/4:2,"), 0);
}

static void test_a_maildir_in_use(void **state)
{
	unsigned told = 0;
	const struct store_wishes in_use = {
		.temporary = "/tmp", .reading = use_maildir, .data = &told};
	struct store store;
	struct err e = {0};
	char byte;

	(void)state;
	PUT("used/cur/1:2,", MESSAGE(1));
	PUT("used/cur/2:2,", MESSAGE(2));
	PUT("used/new/3", MESSAGE(3));
	PUT("used/cur/4:2,", MESSAGE(4));
	PUT("used/cur/7!2,", MESSAGE(5));
	assert_int_equal(store_open(&store, "used", &in_use, &e), 0);
	assert_int_equal(store.count, 4);
	assert_int_equal(told, 4);

	assert_int_equal(rename("used/cur/7!2,", "used/cur/7!2,S"), 0);
	assert_int_equal(store_read(&store, store_item(&store, 1), 0, &byte, 1, &e), 0);
	assert_int_equal(rename("used/cur/1:2,", "used/cur/1"), 0);
	assert_int_equal(scarce(store_read(&store, store_item(&store, 0), 0, &byte, 1, &e)), 0);
	assert_int_equal(unlink("used/cur/2:2,S"), 0);
	assert_int_equal(store_read(&store, store_item(&store, 2), 0, &byte, 1, &e), -ESTALE);
	assert_non_null(strstr(e.text, "used/cur/2:2,S was moved or deleted"));
	assert_int_equal(rename("used/cur", "used/away"), 0);
	assert_int_equal(store_read(&store, store_item(&store, 3), 0, &byte, 1, &e), -ENOENT);
	assert_non_null(strstr(e.text, "cannot read the folder used/cur"));
	store_free(&store);

	assert_int_equal(rename("used/away", "used/cur"), 0);
	assert_int_equal(symlink("nowhere", "used/cur/5:2,"), 0);
	assert_int_equal(store_open(&store, "used", &wishes, &e), -ESTALE);
	assert_non_null(strstr(e.text, "used/cur/5:2, was moved or deleted"));
	store_free(&store);
}

static void test_a_maildir_is_listed_in_use(void **state)
{
	struct store store;
	struct err e = {0};

	(void)state;
	PUT("used/cur/1:2,", MESSAGE(1));
	PUT("used/cur/2:2,S", MESSAGE(2));
	PUT("used/cur/3:2,", MESSAGE(3));
	PUT("used/new/4", MESSAGE(4));
	passed_over = "2:2,S";
	assert_int_equal(store_open(&store, "used", &wishes, &e), 0);
	assert_null(passed_over);
	assert_int_equal(store.count, 4);
	store_free(&store);
}

/* Another file has taken its place. */
static void test_replaced(void **state)
{
	struct store store;
	struct err e = {0};
	char bytes[4];

	(void)state;
	PUT("mbox", FROM MESSAGE(1));
	PUT("other", FROM MESSAGE(1));
	assert_int_equal(store_open(&store, "mbox", &wishes, &e), 0);
	assert_int_equal(rename("other", "mbox"), 0);
	assert_int_equal(store_read(&store, store_item(&store, 0), 0, bytes, 4, &e), -ESTALE);
	assert_non_null(strstr(e.text, "mbox was replaced while it was being read"));
	store_free(&store);
}

static int compare(int *found, struct err *e)
{
	struct store archive, export = {.fd = -1};
	struct report *report = NULL;
	int r = store_open(&archive, "archive", &wishes, e);

	if (r == 0)
		r = store_open(&export, "export", &wishes, e);
	if (r == 0)
		r = report_new(&report, true, true, e);
	if (r == 0)
		r = verify(&archive, verify_store, &export, &cleaning, report, e);
	if (r >= 0 && !report_is_whole(report))
		r = -ENOMEM;
	*found = r;
	report_free(report);
	store_free(&archive);
	store_free(&export);
	return r < 0 ? r : 0;
}

/* The same, and nobody hears what it tells. */
static int compare_silently(int *found, struct err *e)
{
	int kept[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC), r;

	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		kept[i] = fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
		assert_true(kept[i] >= 0 && dup2(null, i + 1) >= 0);
	}
	r = compare(found, e);
	(void)fflush(stdout);
	for (int i = 0; i < 2; i++) {
		assert_true(dup2(kept[i], i + 1) >= 0);
		close(kept[i]);
	}
	close(null);
	return r;
}

static void test_compares_without_memory(void **state)
{
	int found = 0;
	struct err e = {0};

	(void)state;
	PUT("archive", FROM MESSAGE(1) "\n" FROM MESSAGE(2) "\n" FROM MESSAGE(3) "\n");
	PUT("export", FROM MESSAGE(1) "\n" FROM MESSAGE(1) "\n" FROM MESSAGE(
			      2) "other\n" FROM DATE "\nwithout an id\n");
	assert_int_equal(scarce(compare_silently(&found, &e)), 0);
	assert_int_equal(found, 3); /* missing, changed, doubled */
}

#define SIGNED "DKIM-Signature: v=1; d=x.test; h=from:subject; b=x\nSubject: y\n"

static int warn(const struct options *options, struct store *store, struct err *e)
{
	struct run run = {.options = options, .store = store};
	int r = report_new(&run.report, false, true, e);

	if (r == 0)
		r = run_warn_removed(&run, e);
	if (r == 0 && !report_is_whole(run.report))
		r = -ENOMEM;
	report_free(run.report);
	return r;
}

/* The same, with what it tells in this file. */
static int warn_into(const char *path, const struct options *options, struct store *store,
		     struct err *e)
{
	int kept = fcntl(2, F_DUPFD_CLOEXEC, 3), r;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(kept >= 0 && dup2(fd, 2) >= 0);
	r = warn(options, store, e);
	assert_true(dup2(kept, 2) >= 0);
	close(kept);
	close(fd);
	return r;
}

/* Headers that are to be removed, and are signed. */
static void test_warns_of_broken_signatures(void **state)
{
	struct mail_names names = {0};
	const struct options options = {.cleaning.remove = &names};
	struct store store;
	struct err e = {0};
	char *told = NULL;
	size_t len;

	(void)state;
	PUT("archive", FROM SIGNED DATE "\nx\n\n" FROM MESSAGE(1) "\n" FROM SIGNED DATE "\nx\n");
	assert_int_equal(mail_names_add(&names, "Subject", &e), 0);
	assert_int_equal(store_open(&store, "archive", &wishes, &e), 0);
	assert_int_equal(scarce(warn_into("told", &options, &store, &e)), 0);
	assert_int_equal(file_read("told", 1000, &told, &len, &e), 0);
	assert_string_equal(told, "bounce-mbox: removing these headers breaks the DKIM signatures "
				  "of 2 messages, which may be refused for it; --check names "
				  "them\n");
	free(told);
	assert_int_equal(truncate("archive", 100), 0);
	assert_int_equal(warn_into("told", &options, &store, &e), -ESTALE);
	assert_string_equal(e.text, "archive became shorter while it was being read; start again");
	assert_int_equal(file_read("told", 1000, &told, &len, &e), 0);
	assert_int_equal(len, 0);
	free(told);
	store_free(&store);
	mail_names_free(&names);
}

static int set_aside(struct store *store, struct err *e)
{
	struct rejects *rejects = NULL;
	struct prepared p = {0};
	int r = rejects_open(&rejects, "rejects", &cleaning, NULL, e);

	for (size_t i = 0; i < store->count && r == 0; i++) {
		r = prepare(&p, store, store_item(store, i), &cleaning, e);
		if (r == 0)
			r = rejects_add(rejects, store, &p, &cleaning, "no\nway", e);
	}
	rejects_close(rejects);
	prepared_free(&p);
	return r;
}

static void assert_whole(const char *path, uint64_t more_than)
{
	struct store store;

	assert_int_equal(store_open(&store, path, &wishes, NULL), 0);
	assert_true(store.count > more_than);
	for (size_t i = 0; i < store.count; i++) {
		const struct item *item = store_item(&store, i);
		char end[2];

		assert_int_equal(store_read(&store, item, item->len - 2, end, 2, NULL), 0);
		assert_memory_equal(end, "x\n", 2);
	}
	store_free(&store);
}

/* What lies in the file stays whole: also a message that is too large to be kept in memory, and is
 * read anew. */
static void test_sets_aside_without_memory(void **state)
{
	const size_t len = 1200000;
	char *text = malloc(len);
	struct rejects *rejects = NULL;
	struct rlimit old, small;
	struct store store;
	struct err e = {0};
	struct stat st;
	int r;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	for (size_t i = 99; i < len; i += 100)
		text[i] = '\n';
	memcpy(text, FROM "\n", sizeof(FROM));
	put("archive", text, len);
	free(text);
	assert_int_equal(store_open(&store, "archive", &wishes, &e), 0);
	assert_int_equal(scarce(set_aside(&store, &e)), 0);
	assert_whole("rejects", 0);

	/* a run that died, and then no room for the end of its last line */
	assert_int_equal(stat("rejects", &st), 0);
	assert_int_equal(truncate("rejects", st.st_size - 2), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = (rlim_t)st.st_size - 2;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = rejects_open(&rejects, "rejects", &cleaning, NULL, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_string_equal(e.text, "cannot write rejects: File too large");
	assert_int_equal(set_aside(&store, &e), 0);
	assert_whole("rejects", 1);
	store_free(&store);
}

/* A large one that is another by now is none that was refused. */
static void test_sets_aside_what_was_prepared(void **state)
{
	struct prepared p = {0};
	struct rejects *rejects = NULL;
	struct store store;
	struct err e = {0};
	int archive;

	(void)state;
	PUT("archive", FROM "\n");
	assert_int_equal(system("yes | head -c 3000000 >>archive"), 0);
	assert_int_equal(store_open(&store, "archive", &wishes, &e), 0);
	assert_int_equal(prepare(&p, &store, store_item(&store, 0), &cleaning, &e), 0);
	archive = open("archive", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(archive, "n", 1, 2000001), 1);
	close(archive);
	assert_int_equal(rejects_open(&rejects, "rejects", &cleaning, NULL, &e), 0);
	assert_int_equal(rejects_add(rejects, &store, &p, &cleaning, "no", &e), -ESTALE);
	assert_string_equal(e.text, "a message of archive was changed while it was being read (is "
				    "the mail program running?); start again");
	rejects_close(rejects);
	prepared_free(&p);
	store_free(&store);
	assert_int_equal(store_open(&store, "rejects", &wishes, &e), 0);
	assert_int_equal(store.count, 0);
	store_free(&store);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reads_without_memory),       TEST(test_reads_no_further),
		TEST(test_a_maildir_in_use),	       TEST(test_replaced),
		TEST(test_compares_without_memory),    TEST(test_warns_of_broken_signatures),
		TEST(test_sets_aside_without_memory),  TEST(test_sets_aside_what_was_prepared),
		TEST(test_a_maildir_is_listed_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

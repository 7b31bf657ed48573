/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"
#include "memory/memory.h"

static void assert_safe(const char *text, const char *expected)
{
	struct buf b cleanup(buf_free) = {0};

	term_safe(&b, text);
	assert_string_equal(buf_text(&b), expected);
}

static void test_safe_keeps_text(void **state)
{
	(void)state;
	assert_safe("", "");
	assert_safe("wéb 日本 😀", "wéb 日本 😀");
	assert_safe("\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		    "\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

static void test_safe_takes_controls_out(void **state)
{
	(void)state;
	assert_safe("a\033[31mb\n\t\x7f", "a?[31mb???");
	assert_safe("\xc2\x9b"
		    "31m\xc2\x80",
		    "?31m?");
	/* U+202A and U+2069, the first and the last that reorder. */
	assert_safe((const char[]){'\xe2', '\x80', '\xaa', 'a', '\xe2', '\x81', '\xa9', 0}, "?a?");
	assert_safe((const char[]){'\xe2', '\x80', '\xae', 'a', '\xe2', '\x81', '\xa6', 0}, "?a?");
	assert_safe("\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
		    "\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa");
}

static void test_safe_takes_invalid_bytes_out(void **state)
{
	(void)state;
	assert_safe("a\xff\x80z", "a??z");
	assert_safe("\xc0\x80 \xe0\x80\xaf \xf0\x80\x80\xaf", "?? ??? ????"); /* overlong */
	assert_safe("\xed\xa0\x80", "???");				      /* a surrogate */
	assert_safe("\xf4\x90\x80\x80", "????");			      /* behind U+10FFFF */
	assert_safe("\xf8\x88\x80\x80\x80", "?????");
	assert_safe("\xe6\x97", "??"); /* cut */
	assert_safe("\xe6z", "?z");
}

static void test_columns(void **state)
{
	(void)state;
	assert_int_equal(term_columns(""), 0);
	assert_int_equal(term_columns("abc"), 3);
	assert_int_equal(term_columns("\xff\xfe"), 2);
	assert_int_equal(term_columns("wéb"), 3);
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return;
	assert_int_equal(term_columns("wéb"), 3);
	assert_int_equal(term_columns("日本"), 4);
	assert_int_equal(term_columns("e\xcc\x81"), 1);
	assert_non_null(setlocale(LC_CTYPE, "C"));
}

static void test_no_colour_in_a_file(void **state)
{
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	assert_false(term_colour(file));
	assert_int_equal(term_width(file), 80);
	assert_string_equal(term_on(PAINT_RED, false), "");
	assert_string_equal(term_off(false), "");
	assert_string_equal(term_on(PAINT_RED, true), "\033[31m");
	assert_string_equal(term_on(PAINT_NONE, true), "");
	(void)fclose(file);
}

static void assert_printed(struct table *t, const char *expected)
{
	char text[1000] = "";
	FILE *file = tmpfile();

	assert_non_null(file);
	assert_int_equal(table_print(t, file), 0);
	rewind(file);
	(void)!fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	assert_string_equal(text, expected);
}

static void test_table(void **state)
{
	static const char *const titles[] = {"NAME", ">FRAMES", "NOTE", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);

	(void)state;
	assert_printed(t, "NAME  FRAMES  NOTE\n");
	table_cell(t, PAINT_RED, "%s", "wéb-long");
	table_cell(t, PAINT_NONE, "%d", 12);
	table_cell(t, PAINT_NONE, "a\033b");
	table_cell(t, PAINT_NONE, "x");
	table_cell(t, PAINT_NONE, "%d", 12345678);
	table_cell(t, PAINT_NONE, "%s",
		   "long text is not cut where it is not printed on a terminal, but given whole");
	assert_printed(t, "NAME        FRAMES  NOTE\n"
			  "wéb-long        12  a?b\n"
			  "x         12345678  long text is not cut where it is not printed on a "
			  "terminal, but given whole\n");
}

static void test_table_on_a_terminal(void **state)
{
	static const char *const titles[] = {"NAME", "NOTE", NULL};
	static const char expected[] = "\033[1mNAME\033[0m  \033[1mNOTE\033[0m\r\n"
				       "\033[31mweb1\033[0m  fourteen wide!\r\n"
				       "web2  fifteen colum…\r\n";
	const struct winsize size = {.ws_row = 24, .ws_col = 20};
	struct table *t cleanup(table_free_at) = table_new(titles);
	char text[sizeof(expected)] = "";
	int master, slave;
	FILE *stream;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	stream = fdopen(slave, "w");
	assert_non_null(stream);
	assert_int_equal(setenv("TERM", "xterm", 1), 0);
	assert_int_equal(unsetenv("NO_COLOR"), 0);
	table_cell(t, PAINT_RED, "web1");
	table_cell(t, PAINT_NONE, "fourteen wide!");
	table_cell(t, PAINT_NONE, "web2");
	table_cell(t, PAINT_NONE, "fifteen columns");
	assert_int_equal(table_print(t, stream), 0);
	assert_int_equal(fflush(stream), 0);
	for (size_t len = 0; len < sizeof(expected) - 1;) {
		ssize_t n = read(master, text + len, sizeof(expected) - 1 - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(text, expected);
	assert_int_equal(setenv("NO_COLOR", "1", 1), 0);
	assert_false(term_colour(stream));
	(void)fclose(stream);
	close(master);
}

static void test_table_as_text(void **state)
{
	static const char *const titles[] = {"A", "B", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	struct buf b cleanup(buf_free) = {0};

	(void)state;
	table_cell(t, PAINT_RED, "web1");
	table_cell(t, PAINT_NONE, "eight ch");
	buf_str(&b, "above\n");
	assert_int_equal(table_text(t, 0, false, &b), 0);
	assert_string_equal(buf_text(&b), "above\nA     B\nweb1  eight ch\n");
	buf_clear(&b);
	assert_int_equal(table_text(t, 12, true, &b), 0);
	assert_string_equal(buf_text(&b), "\033[1mA\033[0m     \033[1mB\033[0m\n"
					  "\033[31mweb1\033[0m  eight…\n");
}

static int make_table(struct buf *b)
{
	static const char *const titles[] = {"A", "B", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);

	buf_clear(b);
	table_cell(t, PAINT_RED, "%s", "web1");
	table_cell(t, PAINT_NONE, "%d", 12);
	return table_text(t, 0, false, b);
}

static void test_table_without_memory(void **state)
{
	struct buf b cleanup(buf_free) = {0};

	(void)state;
	assert_int_equal(scarce(make_table(&b)), 0);
	assert_string_equal(buf_text(&b), "A     B\nweb1  12\n");
}

static void test_table_on_a_full_disk(void **state)
{
	static const char *const titles[] = {"A", NULL};
	struct table *t cleanup(table_free_at) = table_new(titles);
	FILE *full = fopen("/dev/full", "we");

	(void)state;
	assert_non_null(full);
	assert_int_equal(setvbuf(full, NULL, _IONBF, 0), 0);
	assert_int_equal(table_print(t, full), -ENOSPC);
	(void)fclose(full);
}

static void test_no_table(void **state)
{
	(void)state;
	table_cell(NULL, PAINT_NONE, "x");
	assert_int_equal(table_print(NULL, stdout), -ENOMEM);
	table_free(NULL);
}

static void assert_count(double value, const char *unit, const char *expected)
{
	char text[16];

	assert_string_equal(human_count(text, value, unit), expected);
}

static void test_human_count(void **state)
{
	(void)state;
	assert_count(0, "", "0");
	assert_count(900, "", "900");
	assert_count(900, "B", "900 B");
	assert_count(999.4, "", "999");
	assert_count(999.5, "", "1 k");
	assert_count(1500000, "", "1.5 M");
	assert_count(12.3e9, "", "12.3 G");
	assert_count(999499, "B", "999 kB");
	assert_count(999500, "B", "1 MB");
	assert_count(-1500, "", "-1.5 k");
	assert_count(18446744073709551615.0, "B", "18.4 EB");
	assert_count(-1e300, "B", "-1e+282 EB");
	assert_count(INFINITY, "", "inf E");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safe_keeps_text),
		cmocka_unit_test(test_safe_takes_controls_out),
		cmocka_unit_test(test_safe_takes_invalid_bytes_out),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_no_colour_in_a_file),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_on_a_terminal),
		cmocka_unit_test(test_table_as_text),
		cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_table_without_memory),
		cmocka_unit_test(test_table_on_a_full_disk),
		cmocka_unit_test(test_human_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The pages, read by a strict parser: they are well-formed XML, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "memory/memory.h"
#include "rest/form.h"
#include "rest/html.h"
#include "rest/represent.h"

#define EVIL "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;"

static const char *const colours[] = {"red", "green", NULL};
static const struct rest_field fields[] = {
	{.name = "title",
	 .kind = REST_STRING,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH | REST_BRIEF,
	 .mandatory = true,
	 .maxlen = 40,
	 .regex = "[A-Z].*",
	 .help = "What it says on the <cover>."},
	{.name = "pages",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE | REST_UPDATE | REST_BRIEF,
	 .has_limits = true,
	 .min = 1,
	 .max = 99.5,
	 .fallback = "7"},
	{.name = "lent",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE | REST_UPDATE,
	 .fallback = "true"},
	{.name = "colour",
	 .kind = REST_STRING,
	 .use = REST_CREATE,
	 .choices = colours,
	 .fallback = "\"green\""},
	{.name = "inks",
	 .kind = REST_STRING,
	 .multiple = true,
	 .use = REST_CREATE,
	 .choices = colours},
	{.name = "authors",
	 .kind = REST_STRING,
	 .multiple = true,
	 .use = REST_CREATE | REST_UPDATE,
	 .mandatory = true,
	 .help = "Who wrote it."},
	{.name = "text", .kind = REST_STRING, .use = REST_CREATE | REST_UPDATE, .maxlen = 4000},
	{.name = "shelf", .kind = REST_LINK, .use = REST_CREATE},
	{.name = "secret", .kind = REST_OBJECT},
	{.name = NULL},
};
static const struct rest_type book = {
	.name = "book", .plural = "books", .summary = "What there is to read.", .fields = fields};
static const struct rest_type *const types[] = {&book, NULL};
static const struct rest_model library = {
	.title = "library", .home = "/", .documentation = "/help", .types = types};

/* What the parser told: a line an element "<a href=x>", an end "</a>", a text. */
struct told {
	struct buf text;
	bool unsafe; /* an element or attribute that could run something, or fetch */
};

static void XMLCALL on_start(void *data, const char *name, const char **attributes)
{
	static const char *const bad[] = {"script", "img", "iframe", "object", "link", "base"};
	struct told *told = data;

	for (size_t i = 0; i < COUNT(bad); i++)
		told->unsafe |= strcmp(name, bad[i]) == 0;
	buf_fmt(&told->text, "\n<%s", name);
	for (; *attributes; attributes += 2) {
		told->unsafe |= strncmp(attributes[0], "on", 2) == 0;
		told->unsafe |= strcmp(attributes[0], "style") == 0;
		if (strcmp(attributes[0], "href") == 0 || strcmp(attributes[0], "action") == 0)
			told->unsafe |= strncmp(attributes[1], "http://h/", 9) != 0 &&
					strcmp(attributes[1], "#main") != 0;
		buf_fmt(&told->text, " %s=%s", attributes[0], attributes[1]);
	}
	buf_str(&told->text, ">");
}

static void XMLCALL on_end(void *data, const char *name)
{
	struct told *told = data;

	buf_fmt(&told->text, "</%s>", name);
}

static void XMLCALL on_text(void *data, const char *text, int len)
{
	struct told *told = data;

	buf_add(&told->text, text, (size_t)len);
}

static void told_free(struct told *told)
{
	buf_free(&told->text);
}

static void parse(const struct buf *page, struct told *told)
{
	XML_Parser parser = XML_ParserCreate("UTF-8");

	XML_SetUserData(parser, told);
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	if (XML_Parse(parser, buf_text(page), (int)page->len, 1) != XML_STATUS_OK)
		fail_msg("line %lu: %s\n%s", XML_GetCurrentLineNumber(parser),
			 XML_ErrorString(XML_GetErrorCode(parser)), buf_text(page));
	XML_ParserFree(parser);
	if (told->unsafe)
		fail_msg("unsafe: %s", buf_text(page));
}

/* It is added to what there is. */
static int represent_anew(const struct rest_page *page, struct buf *out, struct err *e)
{
	int r;

	buf_free(out);
	json_forget_lack();
	r = rest_represent(page, REST_HTML, out, e);
	return r == 0 && json_lacked() ? -ENOMEM : r;
}

static void show(const struct rest_page *page, struct told *told)
{
	struct buf out cleanup(buf_free) = {0};
	struct err e = {0};

	if (scarce(represent_anew(page, &out, &e)) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(strncmp(buf_text(&out), "<!DOCTYPE html>\n", 16), 0);
	parse(&out, told);
}

static void assert_told(const struct told *told, const char *wanted)
{
	if (!strstr(buf_text(&told->text), wanted))
		fail_msg("no %s in %s", wanted, buf_text(&told->text));
}

static void assert_not_told(const struct told *told, const char *unwanted)
{
	if (strstr(buf_text(&told->text), unwanted))
		fail_msg("%s is in %s", unwanted, buf_text(&told->text));
}

static json_t *json_of(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);

	if (!value)
		fail_msg("no JSON: %s", text);
	return value;
}

static const char *const crumbs[] = {"/api", "/api/books", "/api/books/a%20%3Cb%3E"};

static void test_rule_6_html_collection_is_a_table(void **state)
{
	json_t *value cleanup(json_free_at) =
		json_of("[{\"_type\":\"book\",\"id\":\"a b\",\"href\":\"http://h/api/books/a%20b\","
			"\"title\":\"A & B\",\"pages\":3,\"lent\":true},"
			"{\"id\":\"c\",\"href\":\"http://h/api/books/c\",\"title\":null}]");
	struct rest_page page = {.shape = REST_COLLECTION,
				 .value = value,
				 .type = &book,
				 .model = &library,
				 .base = "http://h",
				 .crumbs = crumbs,
				 .ncrumbs = 2};
	struct told told cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(&told, "<title>books \xe2\x80\x93 library</title>");
	/* the way to everything, and where this is */
	assert_told(&told, "<a class=skip href=#main>");
	assert_told(&told, "<main id=main>");
	assert_told(&told, "<a href=http://h/>library</a>");
	assert_told(&told, "<a aria-current=true href=http://h/api/books>books</a>");
	assert_told(&told, "<a href=http://h/help>documentation</a>");
	assert_told(&told, "<a href=http://h/api>api</a>");
	assert_told(&told, "<a aria-current=page href=http://h/api/books>books</a>");
	/* a column an attribute that is brief */
	assert_told(&told, "<th scope=col>id</th>\n<th scope=col>title</th>\n"
			   "<th scope=col class=number>pages</th></tr>");
	assert_told(&told, "<a href=http://h/api/books/a%20b>a b</a></th>\n<td>A & B</td>\n"
			   "<td class=number>\n<span class=number>3</span></td></tr>");
	assert_told(&told, "<td>\n<span class=none title=null>");
	assert_not_told(&told, ">true<");
}

static void test_rule_6_html_table_without_brief_attributes_has_all(void **state)
{
	static const struct rest_field two[] = {
		{.name = "id", .kind = REST_STRING},
		{.name = "a.b", .kind = REST_NUMBER},
		{.name = "c", .kind = REST_BOOLEAN},
		{.name = NULL},
	};
	static const struct rest_type type = {.name = "x", .plural = "xs", .fields = two};
	json_t *value cleanup(json_free_at) =
		json_of("[{\"id\":\"1\",\"a\":{\"b\":1.5},\"c\":true}]");
	json_t *none cleanup(json_free_at) = json_array();
	struct rest_page page = {.shape = REST_COLLECTION, .value = value, .type = &type};
	struct told told cleanup(told_free) = {0}, empty cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(
		&told,
		"<th scope=col>id</th>\n<th scope=col class=number>a.b</th>\n<th scope=col>c</th>");
	assert_told(&told, "<span class=number>1.5</span></td>\n<td>\n<span class=yes>true</span>");
	page.value = none;
	show(&page, &empty);
	assert_told(&empty, "There are none.");
}

static void test_rule_6_html_resource_is_a_two_column_table(void **state)
{
	json_t *value cleanup(json_free_at) = json_of(
		"{\"_type\":\"book\",\"id\":\"1\",\"href\":\"http://h/api/books/1\","
		"\"link\":[{\"rel\":\"form/update\",\"href\":\"http://h/api/books/1;update\"},"
		"{\"rel\":\"form/create\",\"type\":\"loan\","
		"\"href\":\"http://h/api/books/1/loans;create\"}],"
		"\"title\":\"A\",\"lent\":false,\"authors\":[\"x\",\"y\"],"
		"\"shelf\":{\"href\":\"http://h/api/shelves/low%20one\"},"
		"\"other\":{\"href\":\"http://h/api/shelves/a%ffb\"},"
		"\"secret\":{\"k\":[1,{\"z\":null}],\"none\":[],"
		"\"loans\":[{\"to\":\"x\",\"days\":3},{\"to\":\"y\",\"back\":true}]},"
		"\"pages\":0.1}");
	struct rest_page page = {
		.shape = REST_RESOURCE, .value = value, .type = &book, .base = "http://h"};
	struct told told cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(&told, "<h1>book 1</h1>");
	assert_told(&told, "<th scope=row>title\n<small>What it says on the <cover>.</small></th>\n"
			   "<td>A</td>");
	assert_told(&told, "<a href=http://h/api/books/1>http://h/api/books/1</a>");
	assert_told(&told, "<a href=http://h/api/books/1;update>update</a>");
	assert_told(&told, "<a href=http://h/api/books/1/loans;create>create loan</a>");
	assert_not_told(&told, "<th scope=row>link");
	assert_told(&told, "<a href=http://h/api/shelves/low%20one>low one</a>");
	assert_told(&told, "<a href=http://h/api/shelves/a%ffb>a%ffb</a>"); /* no UTF-8 */
	assert_told(&told, "<ul>\n<li>x</li>\n<li>y</li></ul>");
	assert_told(&told, "<span class=no>false</span>");
	assert_told(&told, "<span class=number>0.1</span>");
	assert_told(&told, "<dt>k</dt>");
	assert_told(&told, "<dt>none</dt>\n<dd>\n<span class=none");
	/* several things with attributes are a table, with a column for whatever one of them has */
	assert_told(&told, "<th scope=col>to</th>\n<th scope=col class=number>days</th>\n"
			   "<th scope=col>back</th>");
	assert_told(&told, "<td class=word>y</td>\n<td class=number>\n<span class=none");
	/* what is brief comes first */
	assert_true(strstr(buf_text(&told.text), "row>pages") <
		    strstr(buf_text(&told.text), "row>id"));
	assert_not_told(&told, "_type");
}

static void test_rule_17_html_fault_says_the_reason(void **state)
{
	json_t *value cleanup(json_free_at) = json_of(
		"{\"_type\":\"fault\",\"status\":400,\"code\":\"x\",\"reason\":\"It is < that.\"}");
	struct rest_page page = {.shape = REST_RESOURCE, .value = value};
	struct told told cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(&told, "<h1>400 Bad Request</h1>");
	assert_told(&told, "<p class=alert role=alert>It is < that.</p>");
}

static void test_rule_6_html_form_is_a_real_form(void **state)
{
	json_t *form cleanup(json_free_at) = rest_form(
		&book, REST_FORM_CREATE, "http://h/api/books;create", "http://h/api/books", NULL);
	struct rest_page page = {.shape = REST_FORM,
				 .value = form,
				 .type = &book,
				 .base = "http://h",
				 .form_token = "t&1"};
	struct told told cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(&told, "<form method=post accept-charset=utf-8 id=create-book "
			   "action=http://h/api/books>");
	assert_told(&told, "<input type=hidden name=_type value=book>");
	assert_told(&told, "<input type=hidden name=_token value=t&1>");
	assert_not_told(&told, "_method");
	assert_told(&told, "<label for=create-book-title>title ");
	assert_told(&told, "<input type=text id=create-book-title name=title "
			   "aria-describedby=create-book-title-help required= maxlength=40 "
			   "pattern=[A-Z].* value= autocomplete=off>");
	assert_told(&told, "<small id=create-book-title-help>What it says on the <cover>.</small>");
	assert_told(&told, "<input type=number step=any id=create-book-pages name=pages min=1 "
			   "max=99.5 value=7 autocomplete=off>");
	assert_told(&told, "<select id=create-book-lent name=lent>\n<option value=>\xe2\x80\x93"
			   "</option>\n<option value=true selected=>true</option>\n"
			   "<option value=false>false</option></select>");
	assert_told(&told, "<option value=red>red</option>\n<option value=green selected=>");
	assert_told(&told, "<input type=checkbox name=inks value=red>");
	assert_told(&told, "<textarea rows=4 id=create-book-authors name=authors "
			   "aria-describedby=create-book-authors-help required=>");
	assert_told(&told, "Who wrote it. One a line.");
	assert_told(&told, "<textarea rows=2 id=create-book-text name=text>");
	assert_told(&told, "name=shelf.href");
	assert_told(&told, "<button type=submit class=plain>Create</button>");
}

/* Browsers take a class as ECMAScript with the flag v does: of one with a bare '-' at its end they
 * would ignore the whole pattern. */
static void test_rule_6_html_a_pattern_is_one_that_browsers_take(void **state)
{
	static const struct {
		const char *regex, *pattern;
	} both[] = {
		{"[A-Za-z0-9][A-Za-z0-9._-]*", "[A-Za-z0-9][A-Za-z0-9._\\-]*"},
		{"[^-a/(][]|]\\[-]", "[^\\-a\\/\\(][\\]\\|]\\[-]"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(both); i++) {
		const struct rest_field patterned[] = {
			{.name = "name", .use = REST_CREATE, .regex = both[i].regex},
			{0},
		};
		const struct rest_type type = {
			.name = "book", .plural = "books", .fields = patterned, .ops = book.ops};
		json_t *form cleanup(json_free_at) = rest_form(
			&type, REST_FORM_CREATE, "http://h/x", "http://h/api/books", NULL);
		struct rest_page page = {
			.shape = REST_FORM, .value = form, .type = &type, .base = "http://h"};
		struct told told cleanup(told_free) = {0};
		char wanted[80];

		show(&page, &told);
		snprintf(wanted, sizeof(wanted), " pattern=%s value=", both[i].pattern);
		assert_told(&told, wanted);
	}
}

/* One of a group that must be there: which one, a browser can't be told. */
static void test_rule_6_html_a_group_is_left_to_the_server(void **state)
{
	static const struct rest_field numbered[] = {
		{.name = "title", .use = REST_CREATE, .mandatory = true},
		{.name = "isbn", .use = REST_CREATE},
		{.name = "mark", .use = REST_CREATE},
		{0},
	};
	static const struct rest_constraint numbers[] = {{.mandatory = true, .field = "isbn"},
							 {.mandatory = true, .field = "mark"}};
	static const struct rest_constraint constraints[] = {
		{.mandatory = true, .field = "title"},
		{.mandatory = true, .exclusive = true, .group = numbers, .ngroup = COUNT(numbers)},
	};
	static const struct rest_type type = {.name = "book",
					      .plural = "books",
					      .fields = numbered,
					      .constraints = constraints,
					      .nconstraints = COUNT(constraints)};
	json_t *form cleanup(json_free_at) = rest_form(
		&type, REST_FORM_CREATE, "http://h/api/books;create", "http://h/api/books", NULL);
	struct rest_page page = {.shape = REST_FORM,
				 .value = form,
				 .type = &type,
				 .base = "http://h",
				 .form_token = "t"};
	struct told told cleanup(told_free) = {0};

	(void)state;
	show(&page, &told);
	assert_told(&told, "name=title required= ");
	assert_told(&told, "name=isbn value= ");
	assert_told(&told, "name=mark value= ");
}

static void test_rule_6_html_what_was_chosen_is_checked(void **state)
{
	json_t *form cleanup(json_free_at) = rest_form(
		&book, REST_FORM_CREATE, "http://h/api/books;create", "http://h/api/books", NULL);
	struct rest_page page = {
		.shape = REST_FORM, .value = form, .type = &book, .base = "http://h"};
	struct told told cleanup(told_free) = {0};
	json_t *field;
	size_t i;

	(void)state;
	json_array_foreach(json_object_get(form, "fields"), i, field)
	{
		if (strcmp(json_string_value(json_object_get(field, "name")), "inks") == 0)
			json_object_set_new(field, "value", json_of("[\"green\"]"));
	}
	show(&page, &told);
	assert_told(&told, "value=green checked=");
	assert_not_told(&told, "value=red checked=");
}

static void test_rule_6_html_forms_hide_the_method(void **state)
{
	json_t *value cleanup(json_free_at) = json_of(
		"{\"id\":\"1\",\"title\":\"A\\nB\",\"pages\":null,\"authors\":[\"x\",\"<y>\"]}");
	json_t *forms cleanup(json_free_at) = json_array();
	struct rest_page page = {.shape = REST_RESOURCE,
				 .value = value,
				 .type = &book,
				 .base = "http://h",
				 .forms = forms};
	struct told told cleanup(told_free) = {0};

	(void)state;
	json_array_append_new(forms, rest_form(&book, REST_FORM_UPDATE, "http://h/api/f",
					       "http://h/api/books/1", value));
	json_array_append_new(forms, rest_form(&book, REST_FORM_DELETE, "http://h/api/f",
					       "http://h/api/books/1", NULL));
	json_array_append_new(forms, rest_form(&book, REST_FORM_SEARCH, "http://h/api/f",
					       "http://h/api/books", NULL));
	show(&page, &told);
	assert_told(&told, "<details class=form>\n\n<summary>\n<h2>Change book</h2></summary>");
	assert_told(&told, "<button type=submit class=plain>Save</button>");
	assert_told(&told, "<input type=hidden name=_method value=PUT>");
	assert_told(&told, "<input type=hidden name=_method value=DELETE>");
	/* values are filled in: a text of several lines whole, several values one a line */
	assert_told(&told, "name=title aria-describedby=update-book-title-help required=>\nA\nB"
			   "</textarea>");
	assert_told(&told, "required=>\nx\n<y>\n</textarea>");
	assert_told(&told, "max=99.5 value= autocomplete=off>");
	assert_told(&told, "<button type=submit class=danger>Delete</button>");
	/* looking for something changes nothing: its URL can be kept */
	assert_told(&told, "<form method=get accept-charset=utf-8 id=search-book");
	assert_not_told(&told, "value=GET");
	assert_not_told(&told, "_token");
}

static void test_rule_6_html_is_escaped_everywhere(void **state)
{
	static const char *const evil_crumbs[] = {"/api", "/api/" EVIL, "/api/%22%3E%3Cscript%3E"};
	static const char *const choices[] = {EVIL, NULL};
	static const struct rest_field evil_fields[] = {
		{.name = EVIL,
		 .kind = REST_STRING,
		 .use = REST_CREATE,
		 .choices = choices,
		 .help = EVIL},
		{.name = "several" EVIL,
		 .kind = REST_STRING,
		 .multiple = true,
		 .use = REST_CREATE,
		 .choices = choices},
		{.name = "text" EVIL, .kind = REST_STRING, .use = REST_CREATE, .regex = EVIL},
		{.name = NULL},
	};
	static const struct rest_type evil = {
		.name = EVIL, .plural = EVIL, .summary = EVIL, .fields = evil_fields};
	json_t *item cleanup(json_free_at) =
		json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s}, s:[s], s:s}", "_type", EVIL, "id",
			  EVIL, "href", "javascript:alert(1)", EVIL, EVIL, "link", "rel", EVIL,
			  "href", "http://evil/" EVIL, "list", EVIL, "control",
			  "\x1b[31m\x01\x7f\xc2\x9b");
	json_t *list cleanup(json_free_at) = json_pack("[O]", item);
	json_t *forms cleanup(json_free_at) = json_pack(
		"[o]", rest_form(&evil, REST_FORM_CREATE, EVIL, "http://h/api/" EVIL, NULL));
	static const struct rest_type *const evil_types[] = {&evil, NULL};
	static const struct rest_model evil_model = {
		.title = EVIL, .home = "/" EVIL, .documentation = "/" EVIL, .types = evil_types};
	struct rest_page page = {.shape = REST_RESOURCE,
				 .value = item,
				 .type = &evil,
				 .model = &evil_model,
				 .base = "http://h",
				 .crumbs = evil_crumbs,
				 .ncrumbs = 3,
				 .forms = forms,
				 .form_token = EVIL};
	struct told resource cleanup(told_free) = {0}, collection cleanup(told_free) = {0};
	struct told undeclared cleanup(told_free) = {0};

	(void)state;
	show(&page, &resource);
	assert_told(&resource, "<td>" EVIL "</td>");
	assert_told(&resource, "<td>javascript:alert(1)</td>");
	assert_told(&resource, "\\x1b[31m\\x01\\x7f\\xc2\\x9b");
	page.shape = REST_COLLECTION;
	page.value = list;
	show(&page, &collection);
	page.type = NULL;
	show(&page, &undeclared);
}

/* The hash of the style, as a browser makes it, is the one in the policy. */
static void the_policy_lets_the_style_in_and_nothing_else(void **state)
{
	char name[] = "/tmp/test-html-XXXXXX", command[256], hash[128] = "", wanted[160];
	int fd = mkstemp(name);
	FILE *digest;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, rest_html_style, strlen(rest_html_style)),
			 strlen(rest_html_style));
	close(fd);
	(void)snprintf(command, sizeof(command),
		       "/usr/bin/python3 -c 'import base64, hashlib; print(base64.b64encode("
		       "hashlib.sha256(open(\"%s\", \"rb\").read()).digest()).decode(), end=\"\")'",
		       name);
	digest = popen(command, "re"); /* NOLINT(cert-env33-c): a fixed command */
	assert_non_null(digest);
	assert_non_null(fgets(hash, sizeof(hash), digest));
	assert_int_equal(pclose(digest), 0);
	(void)unlink(name);
	(void)snprintf(wanted, sizeof(wanted), "style-src 'sha256-%s'", hash);
	if (!strstr(rest_html_policy, wanted))
		fail_msg("the policy must have %s", wanted);
	assert_non_null(strstr(rest_html_policy, "default-src 'none'"));
	assert_null(strstr(rest_html_policy, "unsafe"));
	/* it is text of a <style> that ends where it should, and fetches nothing */
	assert_null(strchr(rest_html_style, '<'));
	assert_null(strstr(rest_html_style, "url("));
	assert_null(strstr(rest_html_style, "@import"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule_6_html_collection_is_a_table),
		cmocka_unit_test(test_rule_6_html_table_without_brief_attributes_has_all),
		cmocka_unit_test(test_rule_6_html_resource_is_a_two_column_table),
		cmocka_unit_test(test_rule_17_html_fault_says_the_reason),
		cmocka_unit_test(test_rule_6_html_form_is_a_real_form),
		cmocka_unit_test(test_rule_6_html_a_pattern_is_one_that_browsers_take),
		cmocka_unit_test(test_rule_6_html_a_group_is_left_to_the_server),
		cmocka_unit_test(test_rule_6_html_what_was_chosen_is_checked),
		cmocka_unit_test(test_rule_6_html_forms_hide_the_method),
		cmocka_unit_test(test_rule_6_html_is_escaped_everywhere),
		cmocka_unit_test(the_policy_lets_the_style_in_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

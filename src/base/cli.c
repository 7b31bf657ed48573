/* SPDX-License-Identifier: MIT */
#include "base/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cli_help.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/term.h"

struct cli_value {
	const struct cli_option *option;
	const char *text;
};

/* What a step of the parser returns, unless it ends the program with an exit code. */
enum { GO_ON = -1 };

struct parser {
	struct cli_call call;
	char *const *next; /* the words that are left */
	char *const *end;
	bool options_ended;
	struct cli_value *values;
	size_t nvalues, values_room;
	const char **args;
	size_t nargs, args_room;
};

/* Without an allocation: it may be the lack of memory that is complained of. */
__attribute__((format(printf, 2, 0))) static void complain(const struct cli_call *call,
							   const char *format, va_list args)
{
	bool colour = term_colour(stderr);
	char text[4096];

	(void)vsnprintf(text, sizeof(text), format, args);
	term_make_safe(text);
	(void)fprintf(stderr, "%s%s:%s %s\n", term_on(PAINT_RED, colour), call->program->name,
		      term_off(colour), text);
}

void cli_complain(const struct cli_call *call, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	complain(call, format, args);
	va_end(args);
}

int cli_misused(const struct cli_call *call, const char *format, ...)
{
	bool named = call->verb && !cli_only(call->program);
	va_list args;

	va_start(args, format);
	complain(call, format, args);
	va_end(args);
	(void)fprintf(stderr, "Try '%s%s%s --help'.\n", call->program->name, named ? " " : "",
		      named ? call->verb->name : "");
	return EXIT_USAGE;
}

static int no_memory(const struct cli_call *call)
{
	cli_complain(call, "out of memory");
	return EXIT_FAILED;
}

/* The tables in which an option is looked up, one after the other. */
#define TABLES 3
static const struct cli_option *table_of(const struct cli_call *call, int i)
{
	if (i == 0)
		return call->verb ? call->verb->options : NULL;
	return i == 1 ? call->program->options : cli_builtin;
}

static const struct cli_option *find_option(const struct cli_call *call, const char *name)
{
	for (int i = 0; i < TABLES; i++)
		for (const struct cli_option *o = table_of(call, i); o && o->name; o++)
			if (strcmp(o->name, name) == 0)
				return o;
	return NULL;
}

static const struct cli_option *find_letter(const struct cli_call *call, char letter)
{
	for (int i = 0; i < TABLES; i++)
		for (const struct cli_option *o = table_of(call, i); o && o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

static int unknown_option(const struct cli_call *call, const char *name)
{
	struct near near = {.word = name};

	for (int i = 0; i < TABLES; i++)
		for (const struct cli_option *o = table_of(call, i); o && o->name; o++)
			near_try(&near, o->name);
	if (near.best)
		return cli_misused(call, "unknown option '--%s', did you mean '--%s'?", name,
				   near.best);
	return cli_misused(call, "unknown option '--%s'", name);
}

static int find_verb(const struct cli_call *call, const char *name, const struct cli_verb **found)
{
	struct near near = {.word = name};

	for (const struct cli_verb *verb = call->program->verbs; verb->name; verb++) {
		if (strcmp(verb->name, name) == 0) {
			*found = verb;
			return GO_ON;
		}
		near_try(&near, verb->name);
	}
	if (near.best)
		return cli_misused(call, "unknown verb '%s', did you mean '%s'?", name, near.best);
	return cli_misused(call, "unknown verb '%s'", name);
}

/* Takes the next word as the option's value, if it can be one; NULL: there is none. */
static const char *next_value(struct parser *p, const struct cli_option *option)
{
	const char *word = p->next < p->end ? *p->next : NULL;

	if (option->optional && (!word || !isdigit((unsigned char)word[0]) ||
				 word[strspn(word, "0123456789.")] != '\0'))
		return "";
	/* Rather a value forgotten than one that looks like an option. */
	if (!word || strncmp(word, "--", 2) == 0)
		return NULL;
	p->next++;
	return word;
}

/* value: NULL where none was given together with the option. */
static int give_option(struct parser *p, const struct cli_option *option, const char *value)
{
	const struct cli_call *call = &p->call;

	if (option == &cli_builtin[CLI_BUILTIN_HELP]) {
		cli_help(call->program, call->verb, stdout);
		return EXIT_OK;
	}
	if (option == &cli_builtin[CLI_BUILTIN_VERSION]) {
		(void)printf("%s %s\n", call->program->name, call->program->version);
		return EXIT_OK;
	}
	for (size_t i = 0; i < p->nvalues && !option->repeat; i++)
		if (p->values[i].option == option)
			return cli_misused(call, "option '--%s' was given twice", option->name);
	if (!option->value)
		value = "";
	else if (!value)
		value = next_value(p, option);
	if (!value)
		return cli_misused(call, "option '--%s' needs a value: %s", option->name,
				   option->value);
	if (array_room(&p->values, &p->values_room, p->nvalues, sizeof(*p->values)) < 0)
		return no_memory(call);
	p->values[p->nvalues++] = (struct cli_value){option, value};
	return GO_ON;
}

/* --NAME, --NAME=VALUE; word is what stands behind the dashes. */
static int long_option(struct parser *p, const char *word)
{
	const char *equals = strchrnul(word, '=');
	const char *value = *equals ? equals + 1 : NULL;
	char *name cleanup(free_at) = strndup(word, (size_t)(equals - word));
	const struct cli_option *option;

	if (!name)
		return no_memory(&p->call);
	option = find_option(&p->call, name);
	if (!option)
		return unknown_option(&p->call, name);
	if (value && !option->value)
		return cli_misused(&p->call, "option '--%s' takes no value", name);
	return give_option(p, option, value);
}

/* -abc, -nVALUE, -n VALUE; word is what stands behind the dash. */
static int letters(struct parser *p, const char *word)
{
	int code = GO_ON;

	while (*word && code == GO_ON) {
		char letter = *word++;
		const struct cli_option *option = find_letter(&p->call, letter);
		const char *value = NULL;

		if (!option)
			return cli_misused(&p->call, "unknown option '-%c'", letter);
		if (option->value && *word) {
			value = word;
			word += strlen(word);
		}
		code = give_option(p, option, value);
	}
	return code;
}

/* PROGRAM help [VERB] */
static int help_verb(struct parser *p)
{
	const struct cli_verb *verb = NULL;
	int code = GO_ON;

	if (p->next < p->end && strcmp(*p->next, "--help") == 0)
		p->next++; /* help on help is help */
	else if (p->next < p->end)
		code = find_verb(&p->call, *p->next++, &verb);
	if (code == GO_ON && p->next < p->end)
		code = cli_misused(&p->call, "unexpected argument '%s'", *p->next);
	if (code != GO_ON)
		return code;
	cli_help(p->call.program, verb, stdout);
	return EXIT_OK;
}

static int plain_word(struct parser *p, const char *word)
{
	if (!p->call.verb && strcmp(word, "help") == 0)
		return help_verb(p);
	if (!p->call.verb)
		return find_verb(&p->call, word, &p->call.verb);
	if (p->nargs == p->call.verb->most)
		return cli_misused(&p->call, "unexpected argument '%s'", word);
	if (array_room(&p->args, &p->args_room, p->nargs, sizeof(*p->args)) < 0)
		return no_memory(&p->call);
	p->args[p->nargs++] = word;
	if (p->call.verb->command)
		p->options_ended = true;
	return GO_ON;
}

static int parse_word(struct parser *p)
{
	const char *word = *p->next++;

	if (p->options_ended || word[0] != '-' || word[1] == '\0')
		return plain_word(p, word);
	if (strcmp(word, "--") == 0) {
		p->options_ended = true;
		return GO_ON;
	}
	return word[1] == '-' ? long_option(p, word + 2) : letters(p, word + 1);
}

/* Parses all words, and runs the verb. Returns the exit code. */
static int carry_out(struct parser *p)
{
	int code = GO_ON;

	while (p->next < p->end && code == GO_ON)
		code = parse_word(p);
	if (code != GO_ON)
		return code;
	if (!p->call.verb)
		return cli_misused(&p->call, "a verb is missing");
	if (p->nargs < p->call.verb->least)
		return cli_misused(&p->call, "an argument is missing; expected: %s",
				   p->call.verb->arguments);
	p->call.args = p->args;
	p->call.nargs = p->nargs;
	p->call.values = p->values;
	p->call.nvalues = p->nvalues;
	return p->call.verb->run(&p->call);
}

/* Results that did not reach stdout are a failure. Who closed the pipe wants no more of them, and
 * no words about it. */
static int finish(const struct cli_call *call, int code)
{
	int reason;

	errno = 0;
	reason = fflush(stdout) != 0 ? errno : 0;
	if (reason == 0 && !ferror(stdout))
		return code;
	if (reason != EPIPE)
		cli_complain(call, "can't write the output%s%s", reason ? ": " : "",
			     reason ? strerror(reason) : "");
	return EXIT_FAILED;
}

int cli_main(const struct cli_program *program, int argc, char *const *argv, void *context)
{
	const struct cli_verb *only = cli_only(program);
	struct parser p = {.call = {.program = program, .verb = only, .context = context},
			   .next = argv + (argc > 0),
			   .end = argv + argc};
	int code;

	if (argc <= 1 && (!only || only->least > 0)) {
		cli_help_short(program, stderr);
		return EXIT_USAGE;
	}
	code = finish(&p.call, carry_out(&p));
	free(p.values);
	free(p.args);
	return code;
}

const char *cli_nth(const struct cli_call *call, const char *name, size_t n)
{
	for (size_t i = 0; i < call->nvalues; i++)
		if (strcmp(call->values[i].option->name, name) == 0 && n-- == 0)
			return call->values[i].text;
	return NULL;
}

size_t cli_count(const struct cli_call *call, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < call->nvalues; i++)
		count += strcmp(call->values[i].option->name, name) == 0;
	return count;
}

const char *cli_get(const struct cli_call *call, const char *name)
{
	size_t count = cli_count(call, name);

	return count > 0 ? cli_nth(call, name, count - 1) : NULL;
}

bool cli_has(const struct cli_call *call, const char *name)
{
	return cli_count(call, name) > 0;
}

bool cli_number(const struct cli_call *call, const char *name, long least, long most, long *number)
{
	const char *text = cli_get(call, name);
	const struct cli_option *option = find_option(call, name);
	char *end;
	long value;

	if (!text || (text[0] == '\0' && option && option->optional))
		return true;
	errno = 0;
	value = strtol(text, &end, 10);
	/* strtol(3) would also take white space and a '+' before the digits. */
	if (errno == 0 && *end == '\0' && (text[0] == '-' || isdigit((unsigned char)text[0])) &&
	    value >= least && value <= most) {
		*number = value;
		return true;
	}
	(void)cli_misused(call, "'--%s' takes a whole number from %ld to %ld, not '%s'", name,
			  least, most, text);
	return false;
}

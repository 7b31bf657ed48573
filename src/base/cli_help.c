/* SPDX-License-Identifier: MIT */
#include "base/cli_help.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/term.h"

const struct cli_option cli_builtin[] = {
	[CLI_BUILTIN_HELP] = {.name = "help", .letter = 'h', .help = "print this help"},
	[CLI_BUILTIN_VERSION] = {.name = "version", .help = "print the version"},
	{.name = NULL},
};

const struct cli_verb *cli_only(const struct cli_program *program)
{
	return program->verbs->name && !program->verbs->name[0] ? program->verbs : NULL;
}

static void heading(FILE *stream, const char *text)
{
	bool colour = term_colour(stream);

	(void)fprintf(stream, "%s%s:%s", term_on(PAINT_BOLD, colour), text, term_off(colour));
}

/* One line of two columns, the first of them padded to width. */
static void line(FILE *stream, const char *left, unsigned width, const char *right)
{
	int padding = (int)(width - term_columns(left));

	(void)fprintf(stream, "  %s%*s  %s\n", left, padding, "", right);
}

/* A block behind an empty line, ended by exactly one newline. */
static void block(FILE *stream, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	while (len > 0 && text[len - 1] == '\n')
		len--;
	if (len > 0)
		(void)fprintf(stream, "\n%.*s\n", (int)len, text);
}

/* "-w, --watch[=SECONDS]" */
static const char *option_left(struct buf *b, const struct cli_option *option)
{
	buf_clear(b);
	if (option->letter)
		buf_fmt(b, "-%c, ", option->letter);
	else
		buf_str(b, "    ");
	buf_fmt(b, "--%s", option->name);
	if (option->value)
		buf_fmt(b, option->optional ? "[=%s]" : " %s", option->value);
	return buf_text(b);
}

/* The options of one table, or those with a letter only: their widest left side, not less than
 * width; or, with a stream, their lines. */
static unsigned options(const struct cli_option *option, bool letters, unsigned width, FILE *stream)
{
	struct buf b cleanup(buf_free) = {0};

	for (; option && option->name; option++) {
		const char *left = option_left(&b, option);
		unsigned columns = term_columns(left);

		if (letters && !option->letter)
			continue;
		if (stream)
			line(stream, left, width, option->help);
		else if (columns > width)
			width = columns;
	}
	return width;
}

static void option_block(const struct cli_program *program, const struct cli_verb *verb,
			 bool letters, FILE *stream)
{
	const struct cli_option *own = verb ? verb->options : NULL;
	/* The version is the program's, so a verb's help is silent about it. */
	const struct cli_option verbs_only[] = {cli_builtin[CLI_BUILTIN_HELP], {.name = NULL}};
	const struct cli_option *tables[] = {own, program->options,
					     verb && verb != cli_only(program) ? verbs_only
									       : cli_builtin};
	unsigned width = 0;

	for (size_t i = 0; i < COUNT(tables); i++)
		width = options(tables[i], letters, width, NULL);
	(void)fputc('\n', stream);
	heading(stream, "Options");
	(void)fputc('\n', stream);
	for (size_t i = 0; i < COUNT(tables); i++)
		(void)options(tables[i], letters, width, stream);
}

static void verb_block(const struct cli_program *program, FILE *stream)
{
	static const char help[] = "help [VERB]";
	unsigned width = sizeof(help) - 1;

	for (const struct cli_verb *verb = program->verbs; verb->name; verb++)
		if (term_columns(verb->name) > width)
			width = term_columns(verb->name);
	(void)fputc('\n', stream);
	heading(stream, "Verbs");
	(void)fputc('\n', stream);
	for (const struct cli_verb *verb = program->verbs; verb->name; verb++)
		line(stream, verb->name, width, verb->summary);
	line(stream, help, width, "print the help of a verb");
}

void cli_help_usage(const struct cli_program *program, const struct cli_verb *verb, FILE *stream)
{
	heading(stream, "Usage");
	(void)fprintf(stream, " %s", program->name);
	if (verb && verb != cli_only(program))
		(void)fprintf(stream, " %s", verb->name);
	(void)fputs(" [OPTION…]", stream);
	if (!verb)
		(void)fputs(" VERB [ARGUMENT…]", stream);
	else if (verb->arguments && verb->arguments[0])
		(void)fprintf(stream, " %s", verb->arguments);
	(void)fputc('\n', stream);
}

void cli_help(const struct cli_program *program, const struct cli_verb *verb, FILE *stream)
{
	const struct cli_verb *only = cli_only(program);

	cli_help_usage(program, verb, stream);
	block(stream, verb && verb != only ? verb->summary : program->summary);
	if (!verb)
		verb_block(program, stream);
	option_block(program, verb, false, stream);
	if (verb)
		block(stream, verb->text);
	if (!verb || only)
		block(stream, program->text);
}

void cli_help_short(const struct cli_program *program, FILE *stream)
{
	const struct cli_verb *only = cli_only(program);

	cli_help_usage(program, only, stream);
	block(stream, program->summary);
	if (only)
		option_block(program, only, true, stream);
	else
		verb_block(program, stream);
	(void)fprintf(stream, "\nTry '%s --help'.\n", program->name);
}

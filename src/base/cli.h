/* SPDX-License-Identifier: MIT */
/*
 * The command line of all programs: a table of verbs, each with a table of options. Words are
 * strict: an option is given whole (--name VALUE or --name=VALUE, or its one letter), never by
 * a prefix; options and arguments may be mixed; "--" ends the options. A value that starts with
 * "--" is only taken as --name=VALUE. Help texts come from the same tables.
 *
 * Every program also has -h and --help, before and behind the verb, --version, and the verb
 * "help [VERB]". The options of the program itself may stand before the verb.
 *
 * A program without verbs has a single one, named "": all words are its options and arguments,
 * there is no verb "help", and its help is the program's.
 */
#ifndef BASE_CLI_H
#define BASE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct err;
struct cli_call;

/* Exit codes of all programs. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cli_option {
	const char *name;  /* without the dashes */
	const char *value; /* what its value is called in the help ("SEL"); NULL: a switch */
	const char *help;  /* one line */
	char letter;	   /* 0 where it has none */
	bool optional; /* its value may be left out (then --name=VALUE or -xVALUE, or a next word
			  that is a number) */
	bool repeat;   /* may be given several times */
};

struct cli_verb {
	const char *name;
	const char *arguments;		  /* for the usage line: "NAME…", "[FILE|DIR]", "" */
	size_t least, most;		  /* how many arguments; most may be SIZE_MAX */
	const char *summary;		  /* one line, for the program's help */
	const char *text;		  /* the rest of its help: what it does, with an example */
	const struct cli_option *options; /* ends with a NULL name; may be NULL */
	int (*run)(const struct cli_call *call); /* returns an exit code */
	bool command; /* its arguments are a command line: the first one ends the options */
};

struct cli_program {
	const char *name;
	const char *version;
	const char *summary; /* one line */
	const char *text;    /* behind the list of verbs: examples, files, environment */
	const struct cli_option *options; /* those that every verb takes; ends with a NULL name */
	const struct cli_verb *verbs;	  /* ends with a NULL name */
};

/* A parsed call: argv as read by the tables. What it points to lives as long as argv. */
struct cli_call {
	const struct cli_program *program;
	const struct cli_verb *verb;
	const char *const *args; /* the arguments that are no options */
	size_t nargs;
	const struct cli_value *values; /* private */
	size_t nvalues;
	void *context; /* the program's own */
};

/* The option's value (its last, where it repeats); NULL where it was not given. A switch, or an
 * optional value left out: "". */
const char *cli_get(const struct cli_call *call, const char *name);
bool cli_has(const struct cli_call *call, const char *name);
size_t cli_count(const struct cli_call *call, const char *name);
const char *cli_nth(const struct cli_call *call, const char *name, size_t n);

/* Reads the option as a number within [least, most]; what is left untouched where it was not
 * given. False: it said on stderr what is wrong (the verb then returns EXIT_USAGE). */
bool cli_number(const struct cli_call *call, const char *name, long least, long most, long *number);

/*
 * Parses argv, answers --help and --version itself, and runs the verb. Without any argument it
 * prints the short help to stderr (the verbs; without verbs the options that have a letter) and
 * returns EXIT_USAGE (a program without verbs runs, unless it needs arguments). Returns the exit
 * code: the verb's, or EXIT_FAILED where stdout could not be written (with a sentence on stderr,
 * unless it is a closed pipe).
 */
int cli_main(const struct cli_program *program, int argc, char *const *argv, void *context);

/* "PROGRAM: sentence" on stderr (red PROGRAM on a terminal), made safe. No newline at its end. */
void cli_complain(const struct cli_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for a usage error, with "Try 'PROGRAM VERB --help'." behind it. Returns EXIT_USAGE. */
int cli_misused(const struct cli_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

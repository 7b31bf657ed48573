/* SPDX-License-Identifier: MIT */
/* The help texts, out of the tables of a program. Only for cli.c. */
#ifndef BASE_CLI_HELP_H
#define BASE_CLI_HELP_H

#include <stdio.h>

#include "base/cli.h"

/* The options that every program has; ends with a NULL name. */
enum { CLI_BUILTIN_HELP, CLI_BUILTIN_VERSION };
extern const struct cli_option cli_builtin[];

/* The single verb, named "", of a program without verbs; NULL for any other program. */
const struct cli_verb *cli_only(const struct cli_program *program);

/* verb: NULL for the program's own. */
void cli_help_usage(const struct cli_program *program, const struct cli_verb *verb, FILE *stream);
void cli_help(const struct cli_program *program, const struct cli_verb *verb, FILE *stream);

/* The usage line, the verbs, and where to read on. */
void cli_help_short(const struct cli_program *program, FILE *stream);

#endif

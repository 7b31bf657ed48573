/* SPDX-License-Identifier: MIT */
#ifndef STOPEXEC_VERBS_H
#define STOPEXEC_VERBS_H

struct cli_call;
struct cli_option;

extern const struct cli_option run_options[];
extern const struct cli_option next_options[];
extern const struct cli_option watch_options[];
extern const struct cli_option list_options[];
extern const struct cli_option attach_options[];
extern const struct cli_option preload_options[];

int verb_run(const struct cli_call *call);
int verb_next(const struct cli_call *call);
int verb_watch(const struct cli_call *call);
int verb_list(const struct cli_call *call);
int verb_cont(const struct cli_call *call);
int verb_attach(const struct cli_call *call);
int verb_preload(const struct cli_call *call);

#endif

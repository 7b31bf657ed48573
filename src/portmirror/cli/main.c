/* SPDX-License-Identifier: MIT */
#include <locale.h>
#include <stdint.h>

#include "portmirror/cli/app.h"

#define DRY_RUN                                                                                    \
	{                                                                                          \
		.name = "dry-run", .help = "print the planned operations, change nothing"          \
	}
#define SELECTORS                                                                                  \
	"Selectors:\n"                                                                             \
	"  vm:NAME            all network cards of the virtual machine\n"                          \
	"  vm:NAME/N          its card number N, from 0; or vm:NAME/MAC\n"                         \
	"  port:DEVICE        a network device of this host; globs select many: port:vnet*\n"      \
	"  bridge:BRIDGE      all ports of the bridge, now and later\n"                            \
	"  mac:XX:XX:XX:XX:XX:XX  the port of the machine with that address\n"

static const struct cli_option common_options[] = {
	{.name = "json", .help = "print JSON"},
	{.name = "root",
	 .value = "DIR",
	 .help = "use DIR/etc and DIR/run instead of /etc and /run"},
	{0},
};

static const struct cli_option add_options[] = {
	{.name = "from",
	 .value = "SEL",
	 .repeat = true,
	 .help = "what is mirrored; may be repeated"},
	{.name = "to",
	 .value = "SEL",
	 .repeat = true,
	 .help = "where the copies go: one device; may be repeated"},
	{.name = "direction",
	 .value = "both|sent|received",
	 .help = "as the machine sees it (default: both)"},
	{.name = "filter",
	 .value = "EXPR",
	 .help = "only frames that match, see pcap-filter(7), without host names"},
	{.name = "attach",
	 .value = "auto|clsact|classic",
	 .help = "the qdiscs to use (default: auto)"},
	{.name = "engine",
	 .value = "auto|tc|bpf",
	 .help = "what copies: traffic control, or eBPF (default: auto, eBPF by tcx)"},
	{.name = "snap", .value = "BYTES", .help = "copy no more than this of each frame (bpf)"},
	{.name = "sample", .value = "N", .help = "copy one frame in N (bpf)"},
	{.name = "sample-flows", .help = "with --sample: one flow in N, both directions of it"},
	{.name = "rate", .value = "MBIT", .help = "copy no more than this a second (bpf)"},
	{.name = "balance", .help = "each flow to one of the destinations, not all to each (bpf)"},
	{.name = "isolate",
	 .help = "the destination, a port of a bridge, gets little but the mirror"},
	{.name = "runtime", .help = "forget the session at the next boot"},
	{.name = "strict", .help = "refuse selectors that match nothing yet"},
	DRY_RUN,
	{0},
};

static const struct cli_option inline_options[] = {
	{.name = "guard",
	 .value = "SEL",
	 .repeat = true,
	 .help = "whose traffic is led through; may be repeated"},
	{.name = "through",
	 .value = "INSIDE,OUTSIDE",
	 .help = "the appliance's ports: towards the machines, towards the network"},
	{.name = "on-failure",
	 .value = "open|closed",
	 .help = "when the appliance fails, frames go straight on, or stop"},
	{.name = "appliance",
	 .value = "wire|bridge",
	 .help = "what goes in at one port leaves at the other, or it learns (default: wire)"},
	{.name = "filter",
	 .value = "EXPR",
	 .help = "only frames that match, see pcap-filter(7), without host names; the rest "
		 "goes straight on"},
	{.name = "probe-interval",
	 .value = "MS",
	 .help = "milliseconds between portmirrord's probes (default: 100)"},
	{.name = "runtime", .help = "forget the session at the next boot"},
	{.name = "strict", .help = "refuse selectors that match nothing yet"},
	DRY_RUN,
	{0},
};

static const struct cli_option rm_options[] = {
	{.name = "all", .help = "all sessions, and what is left of dead ones"},
	DRY_RUN,
	{0},
};

static const struct cli_option dry_options[] = {DRY_RUN, {0}};

static const struct cli_option check_options[] = {
	{.name = "seconds", .value = "N", .help = "how long to look (default: 5)"},
	{.name = "probe", .help = "send frames of its own too, towards the machines"},
	{0},
};

static const struct cli_option events_options[] = {
	{.name = "watch", .letter = 'w', .help = "go on, as they happen"},
	{0},
};

static const struct cli_option stats_options[] = {
	{.name = "watch",
	 .letter = 'w',
	 .value = "SECONDS",
	 .optional = true,
	 .help = "repeat it every so many seconds (default: 1)"},
	{0},
};

static const struct cli_verb verbs[] = {
	{
		.name = "add",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "mirror the frames of some ports to another",
		.text = "Saves the session in /etc/portmirror/sessions.d/NAME.yaml and carries it "
			"out; or\nchanges nothing, and says why.\n\n" SELECTORS
			"\nA selector that matches nothing yet is kept: a later apply picks it "
			"up.\n\nExamples:\n"
			"  portmirror add ids --from vm:web1 --from vm:db1 --to vm:ids\n"
			"  portmirror add web --from bridge:br0 --to port:vnet9 --filter 'tcp port "
			"80'\n",
		.options = add_options,
		.run = verb_add,
	},
	{
		.name = "inline",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "lead the frames of some machines through an appliance",
		.text = "What a guarded machine sends goes into the appliance at its inside port; "
			"what the "
			"appliance\nlets out at its outside port goes on as if the machine had "
			"just sent "
			"it. Frames to the machine\ntravel the other way round. Neither port may "
			"be on a "
			"bridge; guarded machines are on one bridge.\n\n" SELECTORS
			"\nWith portmirrord running, probe frames through the appliance tell "
			"within three "
			"intervals that\nit forwards nothing, and sessions follow devices that "
			"come and "
			"go. Without it the state is\nstatic: only a port that is gone is "
			"noticed.\n\n"
			"Two guarded machines talk through an appliance that is a wire. A learning "
			"bridge "
			"drops such\nframes: with --appliance bridge they go straight from one to "
			"the "
			"other.\n\nExamples:\n"
			"  portmirror inline ips --guard vm:web1 --through vm:ips/0,vm:ips/1 "
			"--on-failure "
			"closed\n"
			"  portmirror inline waf --guard bridge:br0 --through port:in0,port:out0 "
			"--on-failure open \\\n"
			"                    --filter 'tcp port 80 or tcp port 443'\n",
		.options = inline_options,
		.run = verb_inline,
	},
	{
		.name = "rm",
		.arguments = "[NAME…]",
		.most = SIZE_MAX,
		.summary = "remove sessions and put back what they changed",
		.text = "The traffic control and the bridge ports of this host are then as they "
			"were before.\n\nExample:\n  portmirror rm ids\n",
		.options = rm_options,
		.run = verb_rm,
	},
	{
		.name = "bypass",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "suspend a session: it stays saved and copies nothing",
		.text = "Lasts, over a boot too, until restore.\n\nExample:\n  portmirror bypass "
			"ids\n",
		.options = dry_options,
		.run = verb_bypass,
	},
	{
		.name = "restore",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "let a suspended session go on",
		.text = "Example:\n  portmirror restore ids\n",
		.options = dry_options,
		.run = verb_restore,
	},
	{
		.name = "list",
		.arguments = "",
		.summary = "the sessions and how they stand",
		.text = "States: whole (all that is named is mirrored, or guarded), partial (some "
			"of it is), waiting (for\nthe sources or a destination), suspended, "
			"failed; "
			"show says why.\n\nExample:\n  portmirror list\n",
		.run = verb_list,
	},
	{
		.name = "show",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "one session in full",
		.text = "Example:\n  portmirror show ids\n",
		.run = verb_show,
	},
	{
		.name = "check",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "prove that the copy is complete, frame by frame",
		.text = "Looks at every frame at the sources and at the destinations, and compares "
			"them one by one.\nExits with 0 only if every frame was copied once, and "
			"whole, or as the session promises it; else\nwith 1, the reason, and what "
			"to do. Ctrl-C ends it with the proof so far.\n\n"
			"A probe is an Ethernet frame of EtherType 0x88b5 to an address that "
			"nobody "
			"has. Probes show\nwhat machines receive; what they send, only they can "
			"show.\n\n"
			"Of an in-line session: whether probes come through its appliance, and how "
			"fast.\n\nExamples:\n"
			"  portmirror check ids\n"
			"  portmirror check ids --seconds 60\n"
			"  portmirror check ids --probe --json\n",
		.options = check_options,
		.run = verb_check,
	},
	{
		.name = "stats",
		.arguments = "[NAME]",
		.most = 1,
		.summary = "what was copied, and what was lost",
		.text = "Of a session: the copies made since it was carried out (by the engine tc, "
			"of frames that\nmachines send, the bytes behind the Ethernet header). "
			"Lost "
			"before the destination: copies that it\ndidn't take. Lost at it: frames "
			"that its driver dropped since the device came up, whoever sent\nthem; "
			"some are counted in both. Shed: copies beyond the session's --rate.\n\n"
			"Of a source: all frames of its device in the session's directions since "
			"that "
			"came up, before\nany filter.\n\n"
			"With -w: on a terminal, a view that is drawn anew until q or Ctrl-C, the "
			"busiest first. Else a\nline for each session every time, behind a line "
			"with "
			"the columns' names; with --json, one\nobject a line.\n\nExamples:\n"
			"  portmirror stats\n"
			"  portmirror stats ids -w\n"
			"  portmirror stats -w 60 >> /var/log/mirror.log\n",
		.options = stats_options,
		.run = verb_stats,
	},
	{
		.name = "events",
		.arguments = "",
		.summary = "what portmirrord has done, and why",
		.text = "The last 1,024 of them: their numbers, when it was (UTC), what, to which "
			"session.\nWith -w: goes on until Ctrl-C; with --json, one object a "
			"line.\n\nExamples:\n  portmirror events\n  portmirror events -w\n",
		.options = events_options,
		.run = verb_events,
	},
	{
		.name = "doctor",
		.arguments = "",
		.summary = "what on this host spoils a mirror, and the cure",
		.text = "An error: copies don't arrive. A warning: copies can get lost, doubled or "
			"altered. A hint:\nthe appliance may see what it doesn't expect. Exits "
			"with "
			"0 if there is nothing worse than hints.\nIt changes nothing; through the "
			"appliances of in-line sessions it sends a few probes.\n\nExample:\n"
			"  portmirror doctor\n",
		.run = verb_doctor,
	},
	{
		.name = "ports",
		.arguments = "",
		.summary = "the network devices that can be mirrored",
		.text = "Example:\n  portmirror ports\n",
		.run = verb_ports,
	},
	{
		.name = "vms",
		.arguments = "",
		.summary = "the virtual machines found on this host",
		.text = "Found by their processes: QEMU (libvirt, Proxmox, OpenStack or bare), "
			"cloud-hypervisor,\nFirecracker, and whatever else holds a tap device "
			"open.\n\nExample:\n  portmirror vms\n",
		.run = verb_vms,
	},
	{
		.name = "apply",
		.arguments = "[FILE|DIR]",
		.most = 1,
		.summary = "make the kernel as the saved sessions say",
		.text = "With FILE, DIR or - (standard input): saves the sessions in it first, "
			"replacing those\nof the same names. Prints what it did; a second run has "
			"nothing to do.\n\nExamples:\n  portmirror apply\n  portmirror apply "
			"sessions.yaml\n",
		.options = dry_options,
		.run = verb_apply,
	},
	{
		.name = "export",
		.arguments = "[NAME]",
		.most = 1,
		.summary = "print saved sessions as YAML",
		.text = "What it prints is what apply reads.\n\nExample:\n  portmirror export > "
			"sessions.yaml\n",
		.run = verb_export,
	},
	{
		.name = "tc",
		.arguments = "NAME",
		.least = 1,
		.most = 1,
		.summary = "print the tc commands that would do the same",
		.text = "A shell script. Pasted as root where the same devices are, and nothing "
			"of\nportmirror's, it copies what the session copies, as the engine tc "
			"does.\nWith --json: the commands, and the programs in them as an ELF "
			"object\n(base64; null where none are needed).\n\n"
			"Example:\n  portmirror tc ids\n",
		.run = verb_tc,
	},
	{0},
};

static const struct cli_program program = {
	.name = "portmirror",
	.version = VERSION,
	.summary = "mirror the traffic of virtual machines on Linux bridges",
	.text = "A session copies the frames that its sources send and receive to a destination, "
		"where a\nsecurity appliance (or tcpdump) reads them: a mirror port, as a switch "
		"has it. The kernel\ndoes the copying; nothing has to run.\n\n"
		"Examples:\n"
		"  portmirror add ids --from vm:web1 --to vm:ids    copy web1's frames to ids\n"
		"  portmirror check ids                             prove that the copy is "
		"complete\n"
		"  portmirror rm ids                                as if it had never been\n\n"
		"Files:\n"
		"  /etc/portmirror/sessions.d/NAME.yaml   what is wanted\n"
		"  /run/portmirror                        sessions of --runtime, the lock, what is "
		"to be put back\n\n"
		"Environment:\n"
		"  PORTMIRROR_ROOT     the same as --root\n"
		"  PORTMIRROR_ENGINE   tc or bpf: what --engine auto means on this host\n"
		"  NO_COLOR            no colours on a terminal\n\n"
		"Exit status: 0, or 1 (it failed, nothing half done), or 2 (wrong usage).\n",
	.options = common_options,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	return cli_main(&program, argc, argv, NULL);
}

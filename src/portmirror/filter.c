/* SPDX-License-Identifier: MIT */
#include "portmirror/filter.h"

#include <errno.h>
#include <net/ethernet.h>
#include <netdb.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/namedb.h> /* which needs pcap.h */

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/text.h"

#define MATCH 0xffffffffu

/* The last name of a host or a network that libpcap asked for; "": none. */
static _Thread_local char unknown[TEXT_SHOWN];

/*
 * libpcap looks names up while it compiles: for as long as DNS doesn't answer, and the next time
 * there may be another answer, though a filter is to mean the same each time. It asks by public
 * functions of its own, through the dynamic linker, so these two take their place. They know
 * addresses, for libpcap reads IPv6 ones so too, but no name.
 */
struct addrinfo *pcap_nametoaddrinfo(const char *name)
{
	const struct addrinfo only = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;

	if (getaddrinfo(name, NULL, &only, &found) == 0)
		return found;
	text_shown(unknown, name);
	return NULL;
}

bpf_u_int32 pcap_nametonetaddr(const char *name)
{
	text_shown(unknown, name);
	return 0;
}

/*
 * libpcap writes code that looks for a VLAN tag beside the frame, where Linux keeps it, only for a
 * live capture. The loopback device, an Ethernet device to libpcap, is one that every host has;
 * nothing is read from it.
 */
static int open_handle(struct filter_compiler *c, struct err *e)
{
	char words[PCAP_ERRBUF_SIZE];

	if (c->handle)
		return 0;
	c->handle = pcap_open_live("lo", 262144, 0, 0, words);
	c->live = c->handle;
	if (!c->handle)
		c->handle = pcap_open_dead(DLT_EN10MB, 262144);
	return c->handle ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* True where the code looks for a VLAN tag inside the frame, where the kernel has taken it out. */
static bool looks_for_tag(const struct bpf_program *program)
{
	for (unsigned i = 0; i < program->bf_len; i++) {
		const struct bpf_insn *insn = &program->bf_insns[i];

		if (insn->code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    (insn->k == ETHERTYPE_VLAN || insn->k == 0x88a8 || insn->k == 0x9100))
			return true;
	}
	return false;
}

/* "protochain" jumps backwards, which the kernel takes from nobody. */
static bool loops(const struct bpf_program *program)
{
	for (unsigned i = 0; i < program->bf_len; i++)
		if (program->bf_insns[i].code == (BPF_JMP | BPF_JA) &&
		    program->bf_insns[i].k >= program->bf_len - i)
			return true;
	return false;
}

/*
 * "inbound" and "outbound" look at skb->pkt_type. Only the copies that packet sockets get of what
 * leaves are PACKET_OUTGOING: at a port's hooks all frames are inbound, whichever way they go.
 */
static bool asks_direction(const struct bpf_program *program)
{
	for (unsigned i = 0; i < program->bf_len; i++)
		if (BPF_CLASS(program->bf_insns[i].code) == BPF_LD &&
		    BPF_MODE(program->bf_insns[i].code) == BPF_ABS &&
		    program->bf_insns[i].k == (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE))
			return true;
	return false;
}

/* What libpcap has understood, but the kernel can't do at a port. */
static int refuse(const struct bpf_program *program, const char *expression, bool live,
		  struct err *e)
{
	char shown[TEXT_SHOWN]; /* what is long must not push the reason out of the sentence */

	text_shown(shown, expression);
	if (!live && looks_for_tag(program))
		return err_set(e, -ENETDOWN,
			       "\"%s\" needs the device lo to be up while it is compiled: "
			       "ip link set lo up",
			       shown);
	if (loops(program))
		return err_set(e, -EINVAL, "\"%s\" loops (protochain), which the kernel can't run",
			       shown);
	if (asks_direction(program))
		return err_set(
			e, -EINVAL,
			"\"%s\" asks for inbound or outbound frames, which no filter can tell "
			"at a port: for those of one direction use --direction",
			shown);
	if (program->bf_len > BPF_MAXINSNS)
		return err_set(e, -E2BIG, "\"%s\" makes a filter of %u steps; the kernel takes %d",
			       shown, program->bf_len, BPF_MAXINSNS);
	return 0;
}

static int copy_code(const struct bpf_program *program, struct bytecode *out)
{
	struct sock_filter *code = calloc(program->bf_len, sizeof(*code));

	if (!code)
		return -ENOMEM;
	for (unsigned i = 0; i < program->bf_len; i++) {
		const struct bpf_insn *from = &program->bf_insns[i];

		code[i] = (struct sock_filter){from->code, from->jt, from->jf, from->k};
		/* libpcap answers with the bytes to capture; cls_bpf would make that a class. */
		if (code[i].code == (BPF_RET | BPF_K) && code[i].k != 0)
			code[i].k = MATCH;
	}
	out->code = code;
	out->count = (uint16_t)program->bf_len;
	return 0;
}

static int every_frame(struct bytecode *out, struct err *e)
{
	struct sock_filter *code = calloc(1, sizeof(*code));

	if (!code)
		return err_set(e, -ENOMEM, "out of memory");
	*code = (struct sock_filter){BPF_RET | BPF_K, 0, 0, MATCH};
	out->code = code;
	out->count = 1;
	return 0;
}

/* Why libpcap didn't compile it. */
static int tell_why(pcap_t *handle, const char *expression, struct err *e)
{
	char shown[TEXT_SHOWN];

	if (errno == ENOMEM)
		return err_set(e, -ENOMEM, "out of memory");
	text_shown(shown, expression);
	if (*unknown)
		return err_set(
			e, -EINVAL,
			"\"%s\" has the name %s where a filter takes addresses only: what "
			"a name means may change; getent ahosts tells the addresses of a host",
			shown, unknown);
	return err_set(e, -EINVAL, "\"%s\" is no pcap filter: %s", shown, pcap_geterr(handle));
}

int filter_compile_by(struct filter_compiler *c, const char *expression, struct bytecode *out,
		      struct err *e)
{
	struct bpf_program program;
	int r;

	if (!expression)
		return every_frame(out, e);
	r = open_handle(c, e);
	if (r < 0)
		return r;
	errno = 0;
	*unknown = '\0';
	if (pcap_compile(c->handle, &program, expression, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return tell_why(c->handle, expression, e);
	r = refuse(&program, expression, c->live, e);
	if (r == 0 && copy_code(&program, out) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	pcap_freecode(&program);
	return r;
}

int filter_compile(const char *expression, struct bytecode *out, struct err *e)
{
	struct filter_compiler once cleanup(filter_compiler_close) = {0};

	return filter_compile_by(&once, expression, out, e);
}

void filter_compiler_close(struct filter_compiler *c)
{
	if (c->handle)
		pcap_close(c->handle);
	*c = (struct filter_compiler){0};
}

void bytecode_text(const struct sock_filter *code, size_t count, struct buf *out)
{
	buf_fmt(out, "%zu", count);
	for (size_t i = 0; i < count; i++)
		buf_fmt(out, ",%u %u %u %u", code[i].code, code[i].jt, code[i].jf, code[i].k);
}

uint64_t bytecode_hash(const struct sock_filter *code, size_t count)
{
	return hash_bytes(HASH_START, code, count * sizeof(*code));
}

void bytecode_free(struct bytecode *code)
{
	free(code->code);
	*code = (struct bytecode){0};
}

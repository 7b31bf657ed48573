/* SPDX-License-Identifier: MIT */
/* pcap-filter(7) expressions: what compiles is what the kernel would take, and reads back. */
#include <dlfcn.h>
#include <linux/filter.h>
#include <netdb.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "portmirror/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static pcap_t *live;

/* "host NAME" would ask a name server. */
int getaddrinfo(const char *restrict name, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
	(void)name;
	(void)service;
	(void)hints;
	(void)found;
	return EAI_NONAME;
}

/* The real ones take a hundred milliseconds: the kernel waits until nobody uses the socket. */
pcap_t *pcap_open_live(const char *dev, int most, int promiscuous, int timeout, char *words)
{
	pcap_t *(*open_live)(const char *, int, int, int, char *);

	if (!live) {
		*(void **)&open_live = dlsym(RTLD_NEXT, "pcap_open_live");
		live = open_live(dev, most, promiscuous, timeout, words);
	}
	return live;
}

void pcap_close(pcap_t *handle)
{
	void (*close_other)(pcap_t *);

	if (handle == live)
		return;
	*(void **)&close_other = dlsym(RTLD_NEXT, "pcap_close");
	close_other(handle);
}

/* Jumps lead forward to an instruction that is there, and the last one returns. */
static void check(const struct bytecode *code)
{
	if (code->count == 0 || code->count > BPF_MAXINSNS ||
	    BPF_CLASS(code->code[code->count - 1].code) != BPF_RET)
		abort();
	for (size_t i = 0; i < code->count; i++) {
		const struct sock_filter *insn = &code->code[i];
		size_t left = code->count - i - 1, furthest = 0;

		if (BPF_CLASS(insn->code) != BPF_JMP)
			continue;
		if (BPF_OP(insn->code) == BPF_JA)
			furthest = insn->k;
		else
			furthest = insn->jt > insn->jf ? insn->jt : insn->jf;
		if (furthest >= left)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytecode code = {0};
	struct err e = {0};
	struct buf text = {0};
	char *expression = malloc(len + 1);

	if (!expression)
		return 0;
	memcpy(expression, data, len);
	expression[len] = '\0';
	if (filter_compile(expression, &code, &e) == 0) {
		check(&code);
		bytecode_text(code.code, code.count, &text);
		if (strtoul(buf_text(&text), NULL, 10) != code.count)
			abort();
		(void)bytecode_hash(code.code, code.count);
	} else if (!*e.text) {
		abort(); /* refused without a word */
	}
	buf_free(&text);
	bytecode_free(&code);
	free(expression);
	return 0;
}

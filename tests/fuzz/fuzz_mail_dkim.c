/* SPDX-License-Identifier: MIT */
/* A head with signatures, and the domains of whom it is from: what the signer covers is looked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/dkim.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct mail_domain *domain)
{
	const char *end = memchr(domain->name, '\0', sizeof(domain->name));

	if (!end)
		abort();
	for (const char *at = domain->name; at < end; at++)
		if (*at >= 'A' && *at <= 'Z')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct mail_domain from, signer;
	struct cursor c = cursor_of(data, len);
	struct mail_field f;

	mail_domain_of((const char *)data, len, &from);
	check(&from);
	while (mail_head_next(&c, &f) == MAIL_HEAD_FIELD) {
		mail_domain_of(f.value, f.value_len, &from);
		mail_dkim_domain(&f, &signer);
		check(&from);
		check(&signer);
		if (mail_domains_align(&from, &signer) != mail_domains_align(&signer, &from))
			abort();
		(void)mail_dkim_covers(&f, "Subject", 7);
	}
	return 0;
}

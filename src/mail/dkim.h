/* SPDX-License-Identifier: MIT */
/* What a message's own words tell of its chances with DMARC (RFC 7489): who it says it is from, who
 * signed what (RFC 6376). No name server is asked and no signature computed. */
#ifndef MAIL_DKIM_H
#define MAIL_DKIM_H

#include <stdbool.h>
#include <stddef.h>

struct mail_field;
struct mail_names;

struct mail_domain {
	char name[256]; /* in lower case; "": none */
};

/* The domain of the (last) address in a From field, or in an envelope's address. */
void mail_domain_of(const char *address, size_t len, struct mail_domain *domain);

/* The same domain, or one lies below the other: DMARC's relaxed alignment, as far as that can be
 * said without a list of the suffixes under which anybody may register. */
bool mail_domains_align(const struct mail_domain *a, const struct mail_domain *b);

/* The domain (d=) that signed. */
void mail_dkim_domain(const struct mail_field *signature, struct mail_domain *domain);

/* True where the signature covers the field (h=). */
bool mail_dkim_covers(const struct mail_field *signature, const char *name, size_t len);

/* The first field of the head that a signature in it covers and names has; false: none. */
bool mail_dkim_broken_by(const char *head, size_t len, const struct mail_names *names,
			 struct mail_field *field);

#endif

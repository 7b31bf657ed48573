/* SPDX-License-Identifier: MIT */
#include "mail/dkim.h"

#include <string.h>
#include <strings.h>

#include "base/cursor.h"
#include "mail/header.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(const char **at, size_t *len)
{
	while (*len > 0 && is_blank(**at)) {
		++*at;
		--*len;
	}
	while (*len > 0 && is_blank((*at)[*len - 1]))
		--*len;
}

static bool domain_char(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
	       c == '.' || (unsigned char)c > 127;
}

static void set_domain(const char *at, size_t len, struct mail_domain *domain)
{
	size_t n = 0;

	while (n < len && n < sizeof(domain->name) - 1 && domain_char(at[n])) {
		domain->name[n] = (char)(at[n] >= 'A' && at[n] <= 'Z' ? at[n] | 0x20 : at[n]);
		n++;
	}
	domain->name[n] = 0;
}

void mail_domain_of(const char *address, size_t len, struct mail_domain *domain)
{
	const char *angle = memrchr(address, '<', len);
	const char *start = angle ? angle : address;
	const char *close = angle ? memchr(angle, '>', (size_t)(address + len - angle)) : NULL;
	const char *end = close ? close : address + len;
	const char *at = memrchr(start, '@', (size_t)(end - start));

	domain->name[0] = 0;
	if (at)
		set_domain(at + 1, (size_t)(end - at - 1), domain);
}

static bool is_below(const char *name, const char *parent)
{
	size_t n = strlen(name), k = strlen(parent);

	return n > k && name[n - k - 1] == '.' && strcmp(name + n - k, parent) == 0;
}

bool mail_domains_align(const struct mail_domain *a, const struct mail_domain *b)
{
	if (!*a->name || !*b->name)
		return false;
	return strcmp(a->name, b->name) == 0 || is_below(a->name, b->name) ||
	       is_below(b->name, a->name);
}

/* RFC 6376 3.2: NAME=VALUE; NAME=VALUE */
static bool find_tag(const struct mail_field *signature, char name, const char **value, size_t *len)
{
	struct cursor c = cursor_of(signature->value, signature->value_len);
	const char *part;
	size_t n;

	while (cursor_part(&c, ';', &part, &n)) {
		const char *equals = memchr(part, '=', n);
		size_t name_len = equals ? (size_t)(equals - part) : 0;
		const char *tag = part;

		trim(&tag, &name_len);
		if (name_len != 1 || *tag != name)
			continue;
		*value = equals + 1;
		*len = (size_t)(part + n - *value);
		trim(value, len);
		return true;
	}
	return false;
}

void mail_dkim_domain(const struct mail_field *signature, struct mail_domain *domain)
{
	const char *value;
	size_t len;

	domain->name[0] = 0;
	if (find_tag(signature, 'd', &value, &len))
		set_domain(value, len, domain);
}

bool mail_dkim_covers(const struct mail_field *signature, const char *name, size_t len)
{
	const char *list, *part;
	size_t n;

	if (!find_tag(signature, 'h', &list, &n))
		return false;

	struct cursor c = cursor_of(list, n);

	while (cursor_part(&c, ':', &part, &n)) {
		trim(&part, &n);
		if (n == len && strncasecmp(part, name, len) == 0)
			return true;
	}
	return false;
}

static bool is_covered(const char *head, size_t len, const struct mail_field *field)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END)
		if (what == MAIL_HEAD_FIELD && mail_field_is(&f, "DKIM-Signature") &&
		    mail_dkim_covers(&f, field->bytes, field->name_len))
			return true;
	return false;
}

bool mail_dkim_broken_by(const char *head, size_t len, const struct mail_names *names,
			 struct mail_field *field)
{
	struct cursor c = cursor_of(head, len);
	struct mail_field f;
	enum mail_head what;

	while ((what = mail_head_next(&c, &f)) != MAIL_HEAD_END) {
		if (what != MAIL_HEAD_FIELD || !mail_names_have(names, f.bytes, f.name_len) ||
		    !is_covered(head, len, &f))
			continue;
		*field = f;
		return true;
	}
	return false;
}

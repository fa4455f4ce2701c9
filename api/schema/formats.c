/* What names and keys may look like, and how Kubernetes says so. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "api/schema/validate.h"

#define DNS_LABEL_RULE                                                                             \
	"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "   \
	"and "                                                                                     \
	"must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex " \
	"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define DNS_SUBDOMAIN_RULE                                                                         \
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "  \
	"or "                                                                                      \
	"'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "   \
	"used for validation is "                                                                  \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define NAME_PART_RULE                                                                             \
	"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "  \
	"end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "  \
	"used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define LABEL_VALUE_RULE                                                                           \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "   \
	"or "                                                                                      \
	"'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "         \
	"'my_value',  or '12345', regex used for validation is "                                   \
	"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
#define CONFIG_KEY_RULE                                                                            \
	"a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "       \
	"'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "                \
	"'[-._a-zA-Z0-9]+')"

static bool lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
	return lower(c) || (c >= 'A' && c <= 'Z');
}

static bool dns_label_n(const char *s, size_t n)
{
	if (!n || !lower(s[0]) || !lower(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!lower(s[i]) && s[i] != '-')
			return false;
	return true;
}

const char *um_sformat_dns_label(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 bytes";
	return dns_label_n(s, strlen(s)) ? NULL : DNS_LABEL_RULE;
}

const char *um_sformat_dns1035_label(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 bytes";
	return dns_label_n(s, strlen(s)) && !(s[0] >= '0' && s[0] <= '9')
		       ? NULL
		       : "a DNS-1035 label must consist of lower case alphanumeric characters or "
			 "'-', start with an alphabetic character, and end with an alphanumeric "
			 "character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
			 "'[a-z]([-a-z0-9]*[a-z0-9])?')";
}

const char *um_sformat_dns_subdomain(const char *s)
{
	if (strlen(s) > 253)
		return "must be no more than 253 bytes";
	for (;;) {
		const char *dot = strchrnul(s, '.');

		if (!dns_label_n(s, (size_t)(dot - s)))
			return DNS_SUBDOMAIN_RULE;
		if (!*dot)
			return NULL;
		s = dot + 1;
	}
}

static bool name_chars(const char *s, size_t n)
{
	if (!n || !alnum(s[0]) || !alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!alnum(s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

const char *um_sformat_qualified(const char *s)
{
	const char *slash = strchr(s, '/');
	char prefix[254];

	if (slash) {
		size_t n = (size_t)(slash - s);

		if (!n)
			return "prefix part must be non-empty";
		if (n >= sizeof(prefix))
			return "prefix part must be no more than 253 bytes";
		memcpy(prefix, s, n);
		prefix[n] = '\0';
		if (um_sformat_dns_subdomain(prefix))
			return "prefix part " DNS_SUBDOMAIN_RULE;
		s = slash + 1;
		if (strchr(s, '/'))
			return "a valid label key must be of the form [prefix/]name";
	}
	if (!*s)
		return "name part must be non-empty";
	if (strlen(s) > 63)
		return "name part must be no more than 63 bytes";
	return name_chars(s, strlen(s)) ? NULL : NAME_PART_RULE;
}

const char *um_sformat_label_value(const char *s)
{
	if (strlen(s) > 63)
		return "must be no more than 63 bytes";
	return !*s || name_chars(s, strlen(s)) ? NULL : LABEL_VALUE_RULE;
}

const char *um_sformat_port_name(const char *s)
{
	size_t n = strlen(s);
	bool letter = false;

	if (n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < n; i++) {
		if (!lower(s[i]) && s[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens "
			       "(-)";
		letter |= s[i] >= 'a' && s[i] <= 'z';
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (strstr(s, "--"))
		return "must not contain consecutive hyphens";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

const char *um_sformat_env_name(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || *s == '=')
			return "a valid environment variable name must consist only of printable "
			       "ASCII characters other than '='";
	return NULL;
}

const char *um_sformat_config_key(const char *s)
{
	if (strlen(s) > 253)
		return "must be no more than 253 bytes";
	if (!strcmp(s, "."))
		return "must not be '.'";
	if (!strcmp(s, ".."))
		return "must not be '..'";
	if (!strncmp(s, "..", 2))
		return "must not start with '..'";
	for (const char *c = s; *c; c++)
		if (!alnum(*c) && !strchr("-_.", *c))
			return CONFIG_KEY_RULE;
	return *s ? NULL : CONFIG_KEY_RULE;
}

const char *um_sformat_relative_path(const char *s)
{
	if (*s == '/')
		return "must be a relative path";
	for (const char *part = s;; part++) {
		const char *end = strchrnul(part, '/');

		if (end - part == 2 && !memcmp(part, "..", 2))
			return "must not contain '..'";
		if (!*end)
			break;
		part = end;
	}
	return NULL;
}

const char *um_sformat_ip(const char *s)
{
	unsigned char addr[16];

	if (inet_pton(AF_INET, s, addr) == 1 || inet_pton(AF_INET6, s, addr) == 1)
		return NULL;
	return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

const char *um_sformat_http_header(const char *s)
{
	for (const char *c = s; *c; c++)
		if (!alnum(*c) && *c != '-')
			return "a valid HTTP header must consist of alphanumeric characters or '-' "
			       "(e.g. 'X-Header-Name', regex used for validation is "
			       "'[-A-Za-z0-9]+')";
	return NULL;
}

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef UM_BASE_UTF8_H
#define UM_BASE_UTF8_H

#include <stddef.h>

/* The offset of the first byte that is not valid UTF-8, or @len when all is. */
size_t um_utf8_valid(const char *s, size_t len);

#endif

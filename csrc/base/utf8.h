/* utf8.h - is this well-formed UTF-8 (RFC 3629): shortest form, no surrogates, nothing above U+10FFFF. */
#ifndef ATLAS_BASE_UTF8_H
#define ATLAS_BASE_UTF8_H

#include "base/span.h"

bool atlas_utf8_check(struct atlas_span text);

#endif

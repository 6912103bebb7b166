/*
 * json.h - JSON text and the flat encoding of record.h, both ways, numbers exact.
 *
 * Reading uses yajl's parser. jansson is not used here: it turns 12.30 into a double
 * at once, while yajl hands out the digits of a number as they stand in the text, so
 * that 12.30 arrives as a decimal and 64-bit integers stay exact. It runs on memory
 * given by us (yajl does not check its own allocations). Output and nesting are
 * bounded, and nothing here is shared between threads.
 */
#ifndef CW_JSON_JSON_H
#define CW_JSON_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"
#include "causeway/record.h"

/* Nesting of a whole text: an envelope around a value of record.h. */
#define CW_JSON_DEPTH (CW_RECORD_DEPTH + 2)
/* The same with all that code writes around it. */
#define CW_JSON_LEVELS 64

/*
 * A text being written. The first thing that does not work (memory, the bound, bad UTF-8, a wrong
 * order of calls) sets `error`; everything after it does nothing, and cw_json_finish() returns it.
 */
struct cw_json {
	char *text; /* owned */
	size_t len, size, most;
	int error;
	unsigned depth;
	uint8_t levels[CW_JSON_LEVELS];
};

/* `most`: longest text allowed in bytes. End with finish or drop. */
void cw_json_begin(struct cw_json *j, size_t most);
void cw_json_map(struct cw_json *j);
void cw_json_end_map(struct cw_json *j);
void cw_json_array(struct cw_json *j);
void cw_json_end_array(struct cw_json *j);
/* Text must be UTF-8. Also for keys. */
void cw_json_text(struct cw_json *j, const char *text);
void cw_json_textn(struct cw_json *j, struct cw_bytes text);
void cw_json_int(struct cw_json *j, int64_t v);
void cw_json_uint(struct cw_json *j, uint64_t v);
/* A number that is text already; nobody checks it. */
void cw_json_digits(struct cw_json *j, const char *digits, size_t len);
void cw_json_bool(struct cw_json *j, int v);
void cw_json_null(struct cw_json *j);
/* mantissa x 10^exponent with all its digits: 1230, -2 is 12.30. Exponent -18..18. */
void cw_json_decimal(struct cw_json *j, int64_t mantissa, int exponent);
/* The shortest digits that read back as the same double; null when it is not finite. */
void cw_json_double(struct cw_json *j, double v);
/* Bytes as text of lower-case hexadecimal digits. */
void cw_json_hex(struct cw_json *j, struct cw_bytes bytes);
/* Key and text value in one call. */
void cw_json_field(struct cw_json *j, const char *key, const char *text);
/* The next whole item of `r`; CW_EPROTO when it is malformed or nests too deep. */
void cw_json_item(struct cw_json *j, struct cw_reader *r);
/* The same for one encoded item. */
void cw_json_encoded(struct cw_json *j, struct cw_bytes item);
/*
 * The finished text, NUL-terminated (not counted), owned by the caller (cw_free). 0, CW_ENOMEM,
 * CW_ELIMIT (longer than `most`) or CW_EPROTO.
 */
int cw_json_finish(struct cw_json *j, char **ret_text, size_t *ret_len);
void cw_json_drop(struct cw_json *j);

/* One encoded item as text; see cw_json_finish(). */
int cw_json_from_item(struct cw_bytes item, size_t most, char **ret_text, size_t *ret_len);

/*
 * A whole JSON text as one encoded item, owned by the caller (cw_free). Integers of 64 bits stay integers;
 * numbers with fraction or exponent become decimals when 18 digits hold them exactly, else doubles. 0,
 * CW_ENOMEM, CW_ELIMIT (nests too deep) or CW_EPROTO (not JSON, or not UTF-8).
 */
int cw_json_to_item(struct cw_bytes text, uint8_t **ret_item, size_t *ret_len);

#endif

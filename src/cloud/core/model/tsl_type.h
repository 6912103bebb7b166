/* tsl_type.h - the compiled form of a model, shared by what reads it (tsl.c) and what judges values by it (tsl_check.c). */
#ifndef CW_CLOUD_TSL_TYPE_H
#define CW_CLOUD_TSL_TYPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"

/* sym, name in dataType.type, code of a value that does not fit */
#define MODEL_TYPES(X)                                                                                        \
	X(INT, "int", 6306)                                                                                   \
	X(FLOAT, "float", 6307)                                                                               \
	X(DOUBLE, "double", 6322)                                                                             \
	X(ENUM, "enum", 6309)                                                                                 \
	X(BOOL, "bool", 6308)                                                                                 \
	X(TEXT, "text", 6310)                                                                                 \
	X(DATE, "date", 6311)                                                                                 \
	X(ARRAY, "array", 6328)                                                                               \
	X(STRUCT, "struct", 6312)

enum model_kind {
#define MODEL_KIND(sym, name, code) MODEL_##sym,
	MODEL_TYPES(MODEL_KIND)
#undef MODEL_KIND
};
#define MODEL_KINDS 9u

struct model_kind_info {
	const char *name;
	int code;
};
extern const struct model_kind_info cw_cloud_model_kinds[MODEL_KINDS];

struct model_fields;

struct model_type {
	enum model_kind kind;
	double min, max;   /* int, float, double */
	size_t length;     /* text: bytes; array: elements, both at most */
	long long *keys;   /* enum */
	unsigned count;    /* of them */
	struct model_type *item;
	struct model_fields *fields;
};

struct model_field {
	const char *identifier;
	struct model_type *type;
	int required;
};

struct model_fields {
	struct model_field *list;
	unsigned count;
};

enum model_section { MODEL_PROPERTIES, MODEL_EVENTS, MODEL_SERVICES, MODEL_SECTIONS };

/* A property, an event or a service. */
struct model_entry {
	struct cw_map_node node; /* by identifier */
	char *identifier;
	struct model_type *type; /* property */
	int writable;
	int sync; /* service */
	struct model_fields in, out;
};

struct cloud_model {
	struct cw_arena arena; /* holds all of the below but the maps' tables */
	struct cw_map entries[MODEL_SECTIONS];
};

#endif

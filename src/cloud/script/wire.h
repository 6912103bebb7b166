/*
 * wire.h - what the emulator and the process that runs scripts tell each other over a pair of pipes.
 *
 * Frames of both directions: a head, then `len` bytes. SCRIPT is not answered; each call is, in order.
 * Both ends are of one build on one machine: the head goes as it is.
 */
#ifndef CW_CLOUD_SCRIPT_WIRE_H
#define CW_CLOUD_SCRIPT_WIRE_H

#include <stdint.h>

#define SCRIPT_TEXT_MAX   (256u << 10)
#define SCRIPT_INPUT_MAX  (512u << 10) /* the platform's largest message, and room for JSON around it */
#define SCRIPT_OUTPUT_MAX (512u << 10)

enum script_frame {
	/* to the process */
	SCRIPT_LOAD = 1, /* the text, for all calls that follow */
	SCRIPT_UP,       /* bytes: rawDataToProtocol(bytes) */
	SCRIPT_DOWN,     /* JSON text: protocolToRawData(object) */
	SCRIPT_TOPIC,    /* topic, NUL, bytes: transformPayload(topic, bytes) */
	/* from it */
	SCRIPT_RESULT,  /* JSON text, for DOWN bytes */
	SCRIPT_NOTHING, /* the function returned nothing */
	SCRIPT_MISSING, /* there is no such function */
	SCRIPT_TYPE,    /* the result is of the wrong type: a sentence */
	SCRIPT_ERROR,   /* line (0: not known) in the head, a sentence */
};

struct script_head {
	uint32_t len;
	uint16_t frame;
	uint16_t line;
};

#endif

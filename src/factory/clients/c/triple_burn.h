/*
 * triple_burn.h - a device's certificate from the distribution server of the production line.
 *
 * One header, one source, nothing but a C library: for the firmware of a device and for programs of a programmer station. C99, also
 * compiles as C++. With POSIX sockets it works as it is; without:
 *
 *   -DTRIPLE_BURN_NO_SOCKETS  no socket, no clock: bytes go through the functions of triple_burn_conf.transport (lwIP, an AT modem, TLS)
 *   -DTRIPLE_BURN_NO_HEAP     no malloc() and no look-up of names: send_req() is not there, a server is named by its numeric address
 *
 * The usual order, which get_triple() keeps: ask, once more if nothing came, check, store, and only when it is stored, report. A
 * certificate that was asked for without a DeviceID is lost with its answer; with one, asking again gives the same.
 *
 * Texts are UTF-8 and end with NUL. Threads: calls are independent of each other; triple_burn_defaults is only read by them.
 * Nothing here prints. What held a secret on the stack is wiped.
 */
#ifndef TRIPLE_BURN_H
#define TRIPLE_BURN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest texts without their NUL: a buffer is one byte longer. The same as in the platform's C SDK. */
#ifndef PRODUCT_KEY_LEN
#define PRODUCT_KEY_LEN 20
#endif
#ifndef DEVICE_NAME_LEN
#define DEVICE_NAME_LEN 32
#endif
#ifndef DEVICE_SECRET_LEN
#define DEVICE_SECRET_LEN 64
#endif
#ifndef PRODUCT_SECRET_LEN
#define PRODUCT_SECRET_LEN 64
#endif
#ifndef DEVICE_ID_LEN
#define DEVICE_ID_LEN 128
#endif

#define TRIPLE_BURN_PORT 8000 /* where the server's name says none */

/*
 * Longest reply that is taken, without its NUL. Longer ones are failures. get_triple() has it on the stack: it takes TRIPLE_BURN_REPLY_MAX
 * + TRIPLE_BURN_REQUEST_MAX + some 1800 bytes of it. A reply without columns of its own is shorter than 600 bytes.
 */
#ifndef TRIPLE_BURN_REPLY_MAX
#define TRIPLE_BURN_REPLY_MAX 4095
#endif
/* Longest request with its header, on the stack while it is sent. */
#ifndef TRIPLE_BURN_REQUEST_MAX
#define TRIPLE_BURN_REQUEST_MAX 1280
#endif

/* The values of `act`. */
enum { TRIPLE_BURN_ASK = 0, TRIPLE_BURN_WRITTEN = 1 };

enum {
	TRIPLE_BURN_OK = 0,
	TRIPLE_BURN_ARGUMENT = -1,     /* an argument is missing, too long, or has characters it cannot have */
	TRIPLE_BURN_UNREACHED = -2,    /* no connection */
	TRIPLE_BURN_NO_DATA = -3,      /* connected, but no whole reply came in time */
	TRIPLE_BURN_TOO_LONG = -4,     /* the reply is longer than there is room */
	TRIPLE_BURN_INVALID = -5,      /* not the reply of a distribution server, or cut off */
	TRIPLE_BURN_CRC = -6,          /* CRC32 does not belong to this certificate */
	TRIPLE_BURN_REFUSED = -7,      /* Status is not OK */
	TRIPLE_BURN_NOT_STORED = -8,   /* get_triple: the store function failed, nothing was reported */
	TRIPLE_BURN_NOT_REPORTED = -9  /* get_triple: stored and good, but the server does not know; report again later */
};

/* A connection of the firmware's own. Times are what is left for the call, in milliseconds. */
struct triple_burn_transport {
	/* Connected to host (a name or an address without brackets) and port; NULL: failed. */
	void *(*open)(void *arg, const char *host, unsigned port, unsigned timeout_ms);
	/* How many of len bytes were sent, at least one; negative: failed. */
	long (*send)(void *conn, const void *data, size_t len, unsigned timeout_ms);
	/* How many bytes came, at most `size`; 0: the other side has closed; negative: failed, or none in time. */
	long (*recv)(void *conn, void *data, size_t size, unsigned timeout_ms);
	void (*close)(void *conn);
	/* A clock that only goes forward. May be NULL: then each call above gets the whole of answer_ms. */
	uint32_t (*now_ms)(void);
};

enum triple_burn_order {
	TRIPLE_BURN_PK_DN_DS_PS, /* what the documents' programs compute, and servers by default */
	TRIPLE_BURN_PK_PS_DN_DS  /* what their text says */
};

/* All zero: a server without tokens, default times, sockets. */
struct triple_burn_conf {
	const char *token;       /* sent as Authorization: Bearer TOKEN; may be NULL */
	const char *product_id;  /* of a Bluetooth product: CRC32 goes over it too. A ProductID in the reply comes first. May be NULL */
	enum triple_burn_order crc_order;
	unsigned connect_ms;     /* for a connection; 0: 5000. Looking up a name takes what it takes */
	unsigned answer_ms;      /* from connected to the last byte of the reply; 0: 10000 */
	const struct triple_burn_transport *transport; /* NULL: sockets */
	void *arg;               /* of transport->open */
};

/* What is used where no conf is given. Set it before the first call. */
extern struct triple_burn_conf triple_burn_defaults;

struct triple_burn_cert {
	char product_key[PRODUCT_KEY_LEN + 1];
	char device_name[DEVICE_NAME_LEN + 1];
	char product_secret[PRODUCT_SECRET_LEN + 1]; /* empty when the server has none */
	char device_secret[DEVICE_SECRET_LEN + 1];
	char device_id[DEVICE_ID_LEN + 1];           /* empty when the reply has none */
};

/*
 * `server_ip` is, here and below, an address, a name, or one of them with a port: 192.168.1.10, line.example, line.example:50000, ::1,
 * [::1]:50000. `did` may be empty or NULL: no DeviceID is sent, and each request takes a certificate.
 */

#ifndef TRIPLE_BURN_NO_HEAP
/* The reply's text, to be freed with free(); it may be empty, and it may be a refusal. NULL: there is none. */
char *send_req(int act, char *pk, char *did, const char *server_ip);
#endif

/*
 * A reply to TRIPLE_BURN_ASK into buffers of PRODUCT_KEY_LEN + 1 and so on. 0: whole, Status OK, the CRC32 fits. Anything else: not, and
 * no buffer was touched. `did` stays as it is when the reply has no DeviceID. Members it does not know are passed over: add yours to
 * the table in triple_burn.c.
 */
int parse_data(const char *data, char *pk, char *dn, char *ps, char *ds, char *did);

/* The CRC-32 of a text, without its NUL; as zlib's crc32(). */
uint32_t calc_crc32(const char *text);

/* Keeps a certificate where a power cut and a reset leave it. 0: it is kept. */
typedef int (*triple_burn_store)(void *arg, const struct triple_burn_cert *cert);

/* All of it, in the order above. Asks twice at most and does not wait in between: what then is the caller's to say. */
int get_triple(const char *server_ip, const char *product_key, const char *device_id, triple_burn_store store, void *arg);

/* The same with a conf of one's own (NULL: triple_burn_defaults) and with sizes. */

/* The reply into reply[size]: its length without the NUL, or one of the errors above. */
long send_req_n(const struct triple_burn_conf *conf, int act, const char *pk, const char *did, const char *server_ip, char *reply,
		size_t size);
/* As parse_data(), and TRIPLE_BURN_TOO_LONG when a buffer is too small. */
int parse_data_n(const struct triple_burn_conf *conf, const char *data, char *pk, size_t pk_size, char *dn, size_t dn_size, char *ps,
		 size_t ps_size, char *ds, size_t ds_size, char *did, size_t did_size);
int parse_cert(const struct triple_burn_conf *conf, const char *data, struct triple_burn_cert *ret);
/* Status of any reply: 0 for OK, TRIPLE_BURN_REFUSED with the text in status[size] (may be NULL), TRIPLE_BURN_INVALID. */
int parse_status(const char *data, char *status, size_t size);
int get_triple_n(const struct triple_burn_conf *conf, const char *server_ip, const char *product_key, const char *device_id,
		 triple_burn_store store, void *arg);

/* A word or two about one of the errors above. */
const char *triple_burn_error(int error);

#ifdef __cplusplus
}
#endif

#endif

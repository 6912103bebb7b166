/*
 * bench_modbus.c - Modbus polls by bare code, beside which the gateway is measured in the same run. One thread; every
 * answer is checked (unit, function, length, CRC or transaction) and its registers are read as numbers, which are all
 * that is kept.
 *
 *   bench_modbus uv ..                      libuv: N DTUs dial in with RTU, each has one request out at any time
 *   bench_modbus libmodbus --to PORT ..      libmodbus: N connections to a Modbus TCP server, asked in turn, as it can
 *
 *   --count N      DTUs or connections (100)
 *   --blocks N     blocks of ten registers from 300 on, every twentieth, asked in turn (32)
 *   --seconds S    what is measured (2), after half a second that is not
 *
 * uv prints {"port": N} when it listens. Both print one line of figures and end.
 */
#include <errno.h>
#include <getopt.h>
#include <modbus.h>
#include <string.h>
#include <uv.h>

#include "meter.h"

#define FIRST 300u
#define APART 20u
#define REGISTERS 10u
#define KEEP_MOST 512u
#define ANSWER (5u + 2u * REGISTERS)

struct dtu {
	uv_tcp_t tcp;
	uint8_t kept[KEEP_MOST];
	size_t kept_len;
	unsigned block;
	int registered;
};

static struct meter meter = { .seconds = 2 };
static unsigned count = 100, blocks = 32, connected;
static uint64_t sum; /* of the numbers, so that they are read */
static uint16_t crcs[256];
static uv_loop_t *loop;
static uv_tcp_t listener;
static struct dtu *dtus;

static unsigned address_of(unsigned block)
{
	return FIRST + block * APART;
}

/* ---- libuv: RTU over connections that came in ------------------------------------ */

static void make_crcs(void)
{
	unsigned i, k;

	for (i = 0; i < 256; i++) {
		unsigned v = i;

		for (k = 0; k < 8; k++)
			v = v & 1 ? v >> 1 ^ 0xa001u : v >> 1;
		crcs[i] = (uint16_t)v;
	}
}

static unsigned crc_of(const uint8_t *p, size_t n)
{
	unsigned v = 0xffff;

	while (n-- > 0)
		v = v >> 8 ^ crcs[(v ^ *p++) & 0xff];
	return v;
}

static void fail(const char *what)
{
	(void)fprintf(stderr, "bench_modbus: %s\n", what);
	exit(1);
}

static void ask(struct dtu *d)
{
	unsigned address = address_of(d->block), crc;
	uint8_t q[8] = { 1, 3, (uint8_t)(address >> 8), (uint8_t)address, 0, REGISTERS };
	uv_buf_t buf = uv_buf_init((char *)q, sizeof(q));

	crc = crc_of(q, 6);
	q[6] = (uint8_t)crc;
	q[7] = (uint8_t)(crc >> 8);
	if (uv_try_write((uv_stream_t *)&d->tcp, &buf, 1) != (int)sizeof(q))
		fail("a request could not be written");
}

static void take_answer(struct dtu *d)
{
	const uint8_t *p = d->kept;
	unsigned i;

	if (p[0] != 1 || p[1] != 3 || p[2] != 2 * REGISTERS || crc_of(p, ANSWER - 2) != (unsigned)(p[ANSWER - 2] | p[ANSWER - 1] << 8))
		fail("an answer is not the one to its request");
	for (i = 0; i < REGISTERS; i++)
		sum += (unsigned)(p[3 + 2 * i] << 8 | p[4 + 2 * i]);
	d->kept_len -= ANSWER;
	memmove(d->kept, d->kept + ANSWER, d->kept_len);
	d->block = (d->block + 1) % blocks;
	meter.confirmed++;
	if (connected == count && meter_over(&meter))
		exit(sum == 0);
	ask(d);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct dtu *d = handle->data;

	(void)size;
	*buf = uv_buf_init((char *)d->kept + d->kept_len, (unsigned)(KEEP_MOST - d->kept_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct dtu *d = stream->data;

	(void)buf;
	if (n < 0)
		fail("a DTU has gone");
	d->kept_len += (size_t)n;
	if (!d->registered && d->kept_len > 0) { /* its registration packet, which comes alone */
		d->registered = 1;
		d->kept_len = 0;
		connected++;
		ask(d);
	}
	while (d->kept_len >= ANSWER)
		take_answer(d);
}

static void on_connection(uv_stream_t *server, int status)
{
	static unsigned next;
	struct dtu *d = &dtus[next];

	if (status < 0 || next == count)
		fail("more connections than DTUs");
	next++;
	(void)uv_tcp_init(server->loop, &d->tcp);
	d->tcp.data = d;
	if (uv_accept(server, (uv_stream_t *)&d->tcp) < 0 || uv_read_start((uv_stream_t *)&d->tcp, on_alloc, on_read) < 0)
		fail("a DTU could not be taken");
	(void)uv_tcp_nodelay(&d->tcp, 1);
}

static int by_uv(void)
{
	struct sockaddr_in addr;
	int len = sizeof(addr);

	make_crcs();
	loop = uv_default_loop();
	dtus = calloc(count, sizeof(*dtus));
	(void)uv_tcp_init(loop, &listener);
	(void)uv_ip4_addr("127.0.0.1", 0, &addr);
	if (dtus == NULL || uv_tcp_bind(&listener, (struct sockaddr *)&addr, 0) < 0 ||
	    uv_listen((uv_stream_t *)&listener, 4096, on_connection) < 0 ||
	    uv_tcp_getsockname(&listener, (struct sockaddr *)&addr, &len) < 0)
		fail("cannot listen");
	(void)printf("{\"port\": %d}\n", ntohs(addr.sin_port));
	(void)fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- libmodbus -------------------------------------------------------------------- */

static int by_libmodbus(int port)
{
	modbus_t **all = calloc(count, sizeof(modbus_t *));
	uint16_t registers[REGISTERS];
	unsigned i, k, block = 0;

	if (all == NULL)
		fail("out of memory");
	for (i = 0; i < count; i++) {
		all[i] = modbus_new_tcp("127.0.0.1", port);
		if (all[i] == NULL || modbus_set_slave(all[i], 1) < 0 || modbus_connect(all[i]) < 0)
			fail(modbus_strerror(errno));
	}
	for (;; block = (block + 1) % blocks) {
		for (i = 0; i < count; i++) {
			if (modbus_read_registers(all[i], (int)address_of(block), REGISTERS, registers) != (int)REGISTERS)
				fail(modbus_strerror(errno));
			for (k = 0; k < REGISTERS; k++)
				sum += registers[k];
			meter.confirmed++;
			if (meter_over(&meter))
				return sum == 0;
		}
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", 1, NULL, 'c' }, { "blocks", 1, NULL, 'b' }, { "seconds", 1, NULL, 's' }, { "to", 1, NULL, 't' }, { NULL, 0, NULL, 0 },
	};
	int c, port = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c': count = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'b': blocks = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': meter.seconds = strtod(optarg, NULL); break;
		case 't': port = atoi(optarg); break;
		default: return 2;
		}
	}
	if (argc - optind != 1 || count == 0 || blocks == 0)
		return 2;
	return port != 0 ? by_libmodbus(port) : by_uv();
}

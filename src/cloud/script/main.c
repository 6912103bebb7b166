/*
 * main.c - causeway-script: runs one product's script for causeway-cloud, over stdin and stdout; see wire.h.
 *
 * A script is somebody's program. It gets a process of its own, which may do nothing but compute, read and write those two
 * pipes: an endless loop, a flood of memory or a crash of the engine ends this process, not the emulator, which
 * watches the time and starts another one. Memory is capped here.
 */
#include <duktape.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cloud/script/wire.h"

#define HEAP_MAX (32u << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct {
	duk_context *ctx; /* NULL: the script must be evaluated first */
	size_t heap;      /* bytes in use */
	char *text;
	size_t text_len;
	char *input;
} host;

/* ---- memory: malloc with a cap; the size stands before each block ---- */

union block {
	size_t size;
	max_align_t align;
};

static void *heap_alloc(void *udata, duk_size_t size)
{
	union block *b;

	if (size > HEAP_MAX || host.heap + size > HEAP_MAX)
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	b->size = size;
	host.heap += size;
	return b + 1;
}

static void heap_free(void *udata, void *ptr)
{
	union block *b = ptr;

	if (b == NULL)
		return;
	b--;
	host.heap -= b->size;
	free(b);
}

static void *heap_realloc(void *udata, void *ptr, duk_size_t size)
{
	union block *b = ptr;
	size_t old;

	if (b == NULL)
		return heap_alloc(udata, size);
	if (size == 0) {
		heap_free(udata, ptr);
		return NULL;
	}
	b--;
	old = b->size;
	if (size > HEAP_MAX || host.heap - old + size > HEAP_MAX)
		return NULL;
	b = realloc(b, sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	host.heap = host.heap - old + size;
	b->size = size;
	return b + 1;
}

/* The engine lost its way: nothing of this process is needed any more. */
static void on_fatal(void *udata, const char *text)
{
	_exit(3);
}

/* ---- pipes ---- */

static void read_all(void *out, size_t len)
{
	char *p = out;

	while (len > 0) {
		ssize_t n = read(0, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0); /* the emulator has gone or wants us to go */
		p += n;
		len -= (size_t)n;
	}
}

static void write_all(const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(1, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		p += n;
		len -= (size_t)n;
	}
}

static void answer(enum script_frame frame, unsigned line, const void *data, size_t len)
{
	struct script_head h = { (uint32_t)len, (uint16_t)frame, (uint16_t)(line > 65535u ? 65535u : line) };

	write_all(&h, sizeof(h));
	write_all(data, len);
}

static void answer_text(enum script_frame frame, const char *text)
{
	answer(frame, 0, text, strlen(text));
}

/* ---- the engine ---- */

/* A call runs inside duk_safe_call(): whatever the script throws, also from getters while results are read, ends there. */
struct call {
	enum script_frame kind;
	const char *data;
	size_t len;
	enum script_frame outcome;
	const char *problem;
};

static const char *const functions[] = {
	[SCRIPT_UP] = "rawDataToProtocol", [SCRIPT_DOWN] = "protocolToRawData", [SCRIPT_TOPIC] = "transformPayload",
};

static duk_ret_t evaluate(duk_context *ctx, void *udata)
{
	duk_push_string(ctx, "script.js");
	duk_compile_lstring_filename(ctx, 0, host.text, host.text_len);
	duk_call(ctx, 0);
	return 0;
}

static void push_bytes(duk_context *ctx, const char *data, size_t len)
{
	duk_idx_t array = duk_push_array(ctx);
	size_t i;

	for (i = 0; i < len; i++) {
		duk_push_uint(ctx, (unsigned char)data[i]);
		duk_put_prop_index(ctx, array, (duk_uarridx_t)i);
	}
}

static int push_arguments(duk_context *ctx, const struct call *call)
{
	size_t topic;

	switch (call->kind) {
	case SCRIPT_DOWN:
		duk_push_lstring(ctx, call->data, call->len);
		duk_json_decode(ctx, -1);
		return 1;
	case SCRIPT_TOPIC:
		topic = strnlen(call->data, call->len);
		duk_push_lstring(ctx, call->data, topic);
		push_bytes(ctx, call->data + topic + 1, topic < call->len ? call->len - topic - 1 : 0);
		return 2;
	default: push_bytes(ctx, call->data, call->len); return 1;
	}
}

/* An array of numbers becomes a buffer on top of the stack; typed arrays and buffers are taken as they are. */
static void take_bytes(duk_context *ctx, struct call *call)
{
	duk_size_t n, i;
	unsigned char *out;

	if (duk_is_buffer_data(ctx, -1)) {
		call->outcome = SCRIPT_RESULT;
		return;
	}
	if (!duk_is_array(ctx, -1)) {
		call->problem = "protocolToRawData must return an array of bytes";
		return;
	}
	n = duk_get_length(ctx, -1);
	if (n > SCRIPT_OUTPUT_MAX) {
		call->problem = "protocolToRawData returned more than 512 KiB";
		return;
	}
	out = duk_push_fixed_buffer(ctx, n);
	for (i = 0; i < n; i++) {
		duk_get_prop_index(ctx, -2, (duk_uarridx_t)i);
		if (!duk_is_number(ctx, -1)) {
			call->problem = "protocolToRawData must return an array of bytes; something in it is no number";
			return;
		}
		out[i] = (unsigned char)duk_to_int32(ctx, -1); /* -1 and 255 are the same byte */
		duk_pop(ctx);
	}
	call->outcome = SCRIPT_RESULT;
}

static void take_json(duk_context *ctx, struct call *call)
{
	if (call->kind == SCRIPT_UP && (!duk_is_object(ctx, -1) || duk_is_array(ctx, -1) || duk_is_function(ctx, -1))) {
		call->problem = "rawDataToProtocol must return an object";
		return;
	}
	if (duk_json_encode(ctx, -1) == NULL) {
		call->problem = "the result has no JSON form";
		return;
	}
	call->outcome = SCRIPT_RESULT;
}

static duk_ret_t carry_out(duk_context *ctx, void *udata)
{
	struct call *call = udata;

	call->outcome = SCRIPT_TYPE;
	duk_push_global_object(ctx);
	duk_get_prop_string(ctx, -1, functions[call->kind]);
	if (!duk_is_function(ctx, -1)) {
		call->outcome = SCRIPT_MISSING;
		return 1;
	}
	duk_call(ctx, push_arguments(ctx, call));
	if (duk_is_null_or_undefined(ctx, -1))
		call->outcome = SCRIPT_NOTHING;
	else if (call->kind == SCRIPT_DOWN)
		take_bytes(ctx, call);
	else
		take_json(ctx, call);
	return 1;
}

/* Reads of an error object may run the script again: they get a guard of their own. */
static duk_ret_t describe(duk_context *ctx, void *udata)
{
	unsigned *line = udata;

	if (duk_is_object(ctx, -1) && duk_get_prop_string(ctx, -1, "lineNumber"))
		*line = duk_get_uint_default(ctx, -1, 0);
	duk_set_top(ctx, 1);
	duk_safe_to_string(ctx, -1);
	return 1;
}

static void answer_error(duk_context *ctx)
{
	unsigned line = 0;
	duk_size_t len = 0;
	const char *text;

	if (duk_get_top(ctx) > 1)
		duk_replace(ctx, 0);
	duk_set_top(ctx, 1);
	if (duk_safe_call(ctx, describe, &line, 1, 1) != DUK_EXEC_SUCCESS) {
		answer_text(SCRIPT_ERROR, "an error that cannot be shown");
		return;
	}
	text = duk_get_lstring(ctx, -1, &len);
	answer(SCRIPT_ERROR, line, text != NULL ? text : "error", text != NULL ? (len < 512 ? len : 512) : 5);
}

static void answer_result(duk_context *ctx, const struct call *call)
{
	duk_size_t len = 0;
	const void *data = "";

	if (call->outcome == SCRIPT_RESULT)
		data = call->kind == SCRIPT_DOWN ? duk_get_buffer_data(ctx, -1, &len) : (const void *)duk_get_lstring(ctx, -1, &len);
	if (len > SCRIPT_OUTPUT_MAX)
		answer_text(SCRIPT_TYPE, "the result has more than 512 KiB");
	else if (call->outcome == SCRIPT_TYPE)
		answer_text(SCRIPT_TYPE, call->problem);
	else if (call->outcome == SCRIPT_MISSING)
		answer_text(SCRIPT_MISSING, functions[call->kind]);
	else
		answer(call->outcome, 0, data != NULL ? data : "", len);
}

static void forget_heap(void)
{
	duk_destroy_heap(host.ctx);
	host.ctx = NULL;
}

/* After an error the script starts afresh: what it left half done is nothing to go on from. */
static void run(enum script_frame kind, const char *data, size_t len)
{
	struct call call = { .kind = kind, .data = data, .len = len };

	if (host.ctx == NULL) {
		host.ctx = duk_create_heap(heap_alloc, heap_realloc, heap_free, NULL, on_fatal);
		if (host.ctx == NULL) {
			answer_text(SCRIPT_ERROR, "out of memory");
			return;
		}
		if (duk_safe_call(host.ctx, evaluate, NULL, 0, 1) != DUK_EXEC_SUCCESS) {
			answer_error(host.ctx);
			forget_heap();
			return;
		}
		duk_set_top(host.ctx, 0);
	}
	if (duk_safe_call(host.ctx, carry_out, &call, 0, 1) != DUK_EXEC_SUCCESS) {
		answer_error(host.ctx);
		forget_heap();
		return;
	}
	answer_result(host.ctx, &call);
	duk_set_top(host.ctx, 0);
}

/* ---- what this process may do ---- */

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Compute, use the two pipes, get memory, know the time; every other call fails. Sanitizers need more than that. */
static void confine(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read), ALLOW(write), ALLOW(exit), ALLOW(exit_group), ALLOW(rt_sigreturn), ALLOW(brk), ALLOW(munmap),
		ALLOW(mremap), ALLOW(madvise), ALLOW(clock_gettime), ALLOW(gettimeofday),
#ifdef __NR_mmap2
		ALLOW(mmap2),
#else
		ALLOW(mmap),
#endif
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	struct rlimit none = { 0, 0 }, space = { 256u << 20, 256u << 20 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
	tzset();
	if (SANITIZED)
		return;
	(void)setrlimit(RLIMIT_AS, &space);
	(void)setrlimit(RLIMIT_NOFILE, &none);
	/* Where the kernel or a container does not offer filters the limits above remain. */
	(void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	struct script_head h;

	if (argc != 1 || isatty(0)) {
		(void)fputs("causeway-script runs scripts of products for causeway-cloud, which starts it.\n", stderr);
		return 2;
	}
	host.text = malloc(SCRIPT_TEXT_MAX);
	host.input = malloc(SCRIPT_INPUT_MAX);
	if (host.text == NULL || host.input == NULL)
		return 1;
	confine();
	for (;;) {
		read_all(&h, sizeof(h));
		if (h.frame < SCRIPT_LOAD || h.frame > SCRIPT_TOPIC || h.len > (h.frame == SCRIPT_LOAD ? SCRIPT_TEXT_MAX : SCRIPT_INPUT_MAX))
			return 1;
		read_all(h.frame == SCRIPT_LOAD ? host.text : host.input, h.len);
		if (h.frame == SCRIPT_LOAD)
			host.text_len = h.len;
		else
			run((enum script_frame)h.frame, host.input, h.len);
	}
}

/* script.c - scripts of products: their process, the queue before it, the errors; see script.h. */
#include "cloud/core/model/script.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/msglog.h"
#include "cloud/core/traffic/violations.h"

#define JOBS_MAX    1000u       /* that wait for one product's script */
#define JOBS_BYTES  (4u << 20)
#define ERRORS_MAX  20u
#define INPUT_SHOWN 256u /* bytes of an input kept with an error */

struct process;

struct cloud_script {
	struct cw_cloud *cloud;
	struct cloud_product *product;
	char *text;
	size_t len;
	struct cw_list jobs; /* the first one is with the process while `process->busy` */
	unsigned job_count;
	size_t job_bytes;
	struct process *process; /* NULL: none runs */
	json_t *errors;
};

/* Lives until its last handle is closed; `script` is NULL from the moment it is given up. */
struct process {
	struct cloud_script *script;
	uv_process_t child;
	uv_pipe_t in, out;
	uv_timer_t timer;
	unsigned open; /* handles */
	int busy;      /* a call is with it */
	struct script_head head;
	size_t have; /* bytes of the answer so far, head included */
	char *body;
	char buffer[16384];
};

static void pump(struct cloud_script *s);

/* ---- errors ---- */

static const char *const functions[] = {
	[SCRIPT_UP] = "rawDataToProtocol", [SCRIPT_DOWN] = "protocolToRawData", [SCRIPT_TOPIC] = "transformPayload",
};

static void note_error(struct cloud_script *s, const struct cloud_script_job *job, int code, unsigned line,
                       const char *text, size_t len)
{
	const char *input = (const char *)(job->frame + 1);
	size_t shown = job->frame->len < INPUT_SHOWN ? job->frame->len : INPUT_SHOWN;
	json_t *message = json_stringn(text, len), *e;

	/* JSON text is not cut within a character. */
	while (job->kind == SCRIPT_DOWN && shown < job->frame->len && shown > 0 && ((unsigned char)input[shown] & 0xc0u) == 0x80)
		shown--;
	e = json_pack("{s:I, s:s, s:s, s:i, s:o, s:i}", "time", (json_int_t)cw_cloud_wall_ms(s->cloud), "device",
	              job->device->id, "function", functions[job->kind], "code", code, "message",
	              message != NULL ? message : json_string("an error that is no text"), "line", (int)line);
	if (job->kind == SCRIPT_DOWN)
		json_object_set_new(e, "input", json_stringn(input, shown));
	else
		json_object_set_new(e, "inputHex", cw_cloud_log_hex(input, shown));
	if (s->errors == NULL)
		s->errors = json_array();
	while (json_array_size(s->errors) >= ERRORS_MAX)
		json_array_remove(s->errors, 0);
	json_array_append_new(s->errors, e);
	s->cloud->stats.script_errors++;
	cw_log(cloud_script, "failed", CW_LS("product", s->product->key), CW_LS("function", functions[job->kind]),
	       CW_LU("line", line), CW_LB("error", text, len));
}

/* ---- jobs ---- */

static struct cloud_script_job *first_job(const struct cloud_script *s)
{
	struct cw_list *e = cw_list_first(&s->jobs);

	return e != NULL ? cw_container_of(e, struct cloud_script_job, link) : NULL;
}

static void job_take(struct cloud_script *s, struct cloud_script_job *job)
{
	cw_list_remove(&job->link);
	s->job_count--;
	s->job_bytes -= job->frame->len;
	cw_free(job->frame);
	job->frame = NULL;
}

static void job_end(struct cloud_script *s, struct cloud_script_job *job, const struct cloud_script_result *r)
{
	job_take(s, job);
	job->done(job, r);
}

static void job_fail(struct cloud_script *s, struct cloud_script_job *job, int code, unsigned line, const char *text, size_t len)
{
	note_error(s, job, code, line, text, len);
	job_end(s, job, &(struct cloud_script_result){ .code = code });
}

/* ---- the process ---- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;

	if (--p->open > 0)
		return;
	cw_free(p->body);
	cw_free(p);
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_handle_closed);
}

/* Give it up: killed if it still runs; the child's own handle closes when it is known to be gone. */
static void process_drop(struct process *p)
{
	if (p->script != NULL)
		p->script->process = NULL;
	p->script = NULL;
	(void)uv_process_kill(&p->child, SIGKILL);
	close_handle((uv_handle_t *)&p->in);
	close_handle((uv_handle_t *)&p->out);
	close_handle((uv_handle_t *)&p->timer);
}

/* The call it was busy with fails, later ones get a new process. */
static void process_failed(struct process *p, const char *text)
{
	struct cloud_script *s = p->script;
	struct cloud_script_job *job = s != NULL && p->busy ? first_job(s) : NULL;

	process_drop(p);
	if (job != NULL)
		job_fail(s, job, 26002, 0, text, strlen(text));
	if (s != NULL)
		pump(s);
}

static void on_exit_seen(uv_process_t *child, int64_t status, int signal)
{
	struct process *p = child->data;

	close_handle((uv_handle_t *)child);
	if (p->script != NULL)
		process_failed(p, "the script's process died: the script uses more than the engine bears");
}

static void on_late(uv_timer_t *timer)
{
	struct process *p = timer->data;
	char text[96];

	if (!cw_list_empty(&p->script->jobs))
		cw_cloud_violation(p->script->cloud, first_job(p->script)->device, "scriptTime", "script stopped");
	(void)snprintf(text, sizeof(text), "the script took longer than %llu ms and was stopped",
	               (unsigned long long)p->script->cloud->conf.limits.script_ms);
	process_failed(p, text);
}

static void on_answer(struct process *p)
{
	struct cloud_script *s = p->script;
	struct cloud_script_job *job = first_job(s);
	char *body = p->body;
	size_t len = p->head.len;

	p->body = NULL;
	p->have = 0;
	p->busy = 0;
	(void)uv_timer_stop(&p->timer);
	switch (p->head.frame) {
	case SCRIPT_RESULT: job_end(s, job, &(struct cloud_script_result){ .output = body, .len = len }); break;
	case SCRIPT_NOTHING: job_end(s, job, &(struct cloud_script_result){ .code = 0 }); break;
	case SCRIPT_MISSING: job_fail(s, job, 26006, 0, "the script has no such function", 31); break;
	case SCRIPT_TYPE: job_fail(s, job, 26007, 0, body, len); break;
	default: job_fail(s, job, 26002, p->head.line, body, len); break;
	}
	cw_free(body);
}

/* One pass over what was read. CW_EPROTO: the process does not keep to the frames (a script that broke the engine may). */
static int take_bytes(struct process *p, const char *data, size_t len)
{
	while (len > 0) {
		size_t want = p->have < sizeof(p->head) ? sizeof(p->head) - p->have : sizeof(p->head) + p->head.len - p->have;
		size_t n = len < want ? len : want;

		if (p->script == NULL)
			return 0;
		if (!p->busy)
			return CW_EPROTO;
		if (p->have < sizeof(p->head))
			memcpy((char *)&p->head + p->have, data, n);
		else
			memcpy(p->body + (p->have - sizeof(p->head)), data, n);
		p->have += n;
		data += n;
		len -= n;
		if (p->have == sizeof(p->head)) {
			if (p->head.len > SCRIPT_OUTPUT_MAX || p->body != NULL)
				return CW_EPROTO;
			p->body = cw_alloc(p->head.len + 1);
			if (p->body == NULL)
				return CW_ENOMEM;
			p->body[p->head.len] = '\0';
		}
		if (p->have == sizeof(p->head) + p->head.len && p->body != NULL)
			on_answer(p);
	}
	return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct process *p = handle->data;

	*buf = uv_buf_init(p->buffer, sizeof(p->buffer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = stream->data;
	struct cloud_script *s;

	if (n == 0)
		return;
	if (n < 0 || take_bytes(p, buf->base, (size_t)n) < 0) {
		/* on_exit_seen() says more when the pipe just ended */
		if (n >= 0)
			process_failed(p, "the script's process answered nonsense, or memory is short");
		return;
	}
	s = p->script;
	if (s != NULL)
		pump(s);
}

struct writing {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *req, int status)
{
	cw_free(cw_container_of(req, struct writing, req));
}

static int process_write(struct process *p, const struct script_head *head, const void *data)
{
	struct writing *w = cw_alloc(sizeof(*w) + sizeof(*head) + head->len);
	uv_buf_t buf;

	if (w == NULL)
		return CW_ENOMEM;
	memcpy(w->data, head, sizeof(*head));
	memcpy(w->data + sizeof(*head), data, head->len);
	buf = uv_buf_init(w->data, (unsigned)(sizeof(*head) + head->len));
	if (uv_write(&w->req, (uv_stream_t *)&p->in, &buf, 1, on_written) < 0) {
		cw_free(w);
		return CW_EIO;
	}
	return 0;
}

/* Beside us, or where an installation or the build puts it. */
static int find_program(char *out, size_t size)
{
	static const char *const places[] = { "causeway-script", "../bin/causeway-script", "../libexec/causeway-script" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	if (n <= 0)
		return CW_ENOENT;
	self[n] = '\0';
	*(strrchr(self, '/') + 1) = '\0';
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if ((size_t)snprintf(out, size, "%s%s", self, places[i]) < size && access(out, X_OK) == 0)
			return 0;
	}
	return CW_ENOENT;
}

/* Handles count as open as soon as they are initialised: also a start that failed is undone through their closing. */
static void init_handles(struct process *p, uv_loop_t *loop)
{
	p->child.data = p->in.data = p->out.data = p->timer.data = p;
	(void)uv_pipe_init(loop, &p->in, 0);
	(void)uv_pipe_init(loop, &p->out, 0);
	(void)uv_timer_init(loop, &p->timer);
	p->open = 4;
}

static int process_spawn(struct process *p, uv_loop_t *loop)
{
	char program[PATH_MAX + 32], *args[] = { program, NULL }, *env[] = { NULL };
	uv_stdio_container_t stdio[3] = {
		{ .flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&p->in },
		{ .flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&p->out },
		{ .flags = UV_INHERIT_FD, .data.fd = 2 },
	};
	uv_process_options_t options = { .exit_cb = on_exit_seen, .file = program, .args = args, .env = env, .cwd = "/",
		                         .stdio_count = 3, .stdio = stdio };

	if (find_program(program, sizeof(program)) < 0)
		return CW_ENOENT;
	return uv_spawn(loop, &p->child, &options) < 0 ? CW_EIO : 0;
}

static int process_start(struct cloud_script *s)
{
	struct script_head head = { .len = (uint32_t)s->len, .frame = SCRIPT_LOAD };
	uv_loop_t *loop = cw_worker_loop(s->cloud->worker);
	struct process *p = cw_zalloc(sizeof(*p));
	int rc;

	if (p == NULL)
		return CW_ENOMEM;
	p->script = s;
	init_handles(p, loop);
	rc = process_spawn(p, loop);
	if (rc < 0) { /* uv_spawn may have initialised the child's handle, or not: then it does not count */
		if (p->child.loop != NULL)
			close_handle((uv_handle_t *)&p->child);
		else
			p->open--;
		p->script = NULL;
		close_handle((uv_handle_t *)&p->in);
		close_handle((uv_handle_t *)&p->out);
		close_handle((uv_handle_t *)&p->timer);
		return rc;
	}
	s->process = p;
	(void)uv_read_start((uv_stream_t *)&p->out, on_alloc, on_read);
	rc = process_write(p, &head, s->text);
	if (rc < 0)
		process_drop(p);
	return rc;
}

/* Give the next job to the process. */
static void pump(struct cloud_script *s)
{
	struct cloud_script_job *job;

	while ((job = first_job(s)) != NULL && (s->process == NULL || !s->process->busy)) {
		if (s->process == NULL && (s->cloud->scripts_stopped || process_start(s) < 0)) {
			job_fail(s, job, 26002, 0, "causeway-script, the program that runs scripts, cannot be started", 65);
			continue;
		}
		if (process_write(s->process, job->frame, job->frame + 1) < 0) {
			job_fail(s, job, 26002, 0, "out of memory", 13);
			continue;
		}
		s->process->busy = 1;
		(void)uv_timer_start(&s->process->timer, on_late, s->cloud->conf.limits.script_ms, 0);
	}
}

/* ---- calls ---- */

int cw_cloud_script_submit(struct cw_cloud *c, struct cloud_script_job *job, const char *topic, const void *data, size_t len)
{
	struct cloud_script *s = job->device->product->script;
	size_t topic_len = topic != NULL ? strlen(topic) + 1 : 0;
	int idle;

	if (s == NULL)
		return 26001;
	if (c->scripts_stopped)
		return 500;
	if (s->job_count >= JOBS_MAX || s->job_bytes + topic_len + len > JOBS_BYTES || topic_len + len > SCRIPT_INPUT_MAX)
		return 26010;
	job->frame = cw_alloc(sizeof(*job->frame) + topic_len + len);
	if (job->frame == NULL)
		return 500;
	*job->frame = (struct script_head){ .len = (uint32_t)(topic_len + len), .frame = (uint16_t)job->kind };
	if (topic_len != 0)
		memcpy(job->frame + 1, topic, topic_len);
	if (len != 0)
		memcpy((char *)(job->frame + 1) + topic_len, data, len);
	idle = cw_list_empty(&s->jobs) && s->process != NULL;
	cw_list_push_back(&s->jobs, &job->link);
	s->job_count++;
	s->job_bytes += job->frame->len;
	/* A process that has to be started may fail, and done() must not come from here: the loop does it. */
	if (idle)
		pump(s);
	else if (s->process == NULL)
		cw_timer_set(cw_worker_timers(c->worker), &c->scripts_timer, 0, cw_cloud_scripts_pump);
	return 0;
}

void cw_cloud_scripts_pump(struct cw_timer *t)
{
	struct cw_cloud *c = cw_container_of(t, struct cw_cloud, scripts_timer);
	struct cw_map_node *n;

	cw_map_each(n, &c->products) {
		struct cloud_product *p = cw_container_of(n, struct cloud_product, node);

		if (p->script != NULL)
			pump(p->script);
	}
}

/* An answer for a job that left is not waited for: the process is in the middle of it, so it goes. */
void cw_cloud_script_cancel(struct cloud_script_job *job)
{
	struct cloud_script *s;

	if (job->frame == NULL)
		return;
	s = job->device->product->script;
	if (first_job(s) == job && s->process != NULL && s->process->busy)
		process_drop(s->process);
	job_take(s, job);
	if (!cw_list_empty(&s->jobs))
		cw_timer_set(cw_worker_timers(s->cloud->worker), &s->cloud->scripts_timer, 0, cw_cloud_scripts_pump);
}

static void abandon(struct cloud_script *s, const struct cloud_device *d)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &s->jobs) {
		struct cloud_script_job *job = cw_container_of(e, struct cloud_script_job, link);

		if (d != NULL && job->device != d)
			continue;
		if (first_job(s) == job && s->process != NULL && s->process->busy)
			process_drop(s->process);
		job_end(s, job, &(struct cloud_script_result){ .code = 500 });
	}
}

void cw_cloud_scripts_abandon(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_map_node *n;

	if (d != NULL) {
		if (d->product->script != NULL)
			abandon(d->product->script, d);
		return;
	}
	cw_map_each(n, &c->products) {
		struct cloud_product *p = cw_container_of(n, struct cloud_product, node);

		if (p->script != NULL)
			abandon(p->script, NULL);
	}
}

void cw_cloud_scripts_stop(struct cw_cloud *c)
{
	struct cw_map_node *n;

	c->scripts_stopped = 1;
	if (cw_worker_timers(c->worker) != NULL)
		cw_timer_stop(cw_worker_timers(c->worker), &c->scripts_timer);
	cw_cloud_scripts_abandon(c, NULL);
	cw_map_each(n, &c->products) {
		struct cloud_product *p = cw_container_of(n, struct cloud_product, node);

		if (p->script != NULL && p->script->process != NULL)
			process_drop(p->script->process);
	}
}

/* ---- the text ---- */

int cw_cloud_script_set(struct cw_cloud *c, struct cloud_product *p, const char *text, struct cw_msg *msg)
{
	size_t len = text != NULL ? strlen(text) : 0;
	struct cloud_script *s = NULL;

	if (len > SCRIPT_TEXT_MAX)
		return cw_fail(msg, CW_EINVAL, "script of product %s: at most %u bytes", p->key, SCRIPT_TEXT_MAX);
	if (len != 0 && !cw_cloud_is_utf8(text, len))
		return cw_fail(msg, CW_EINVAL, "script of product %s: not UTF-8", p->key);
	if (len != 0) {
		s = cw_zalloc(sizeof(*s));
		if (s == NULL || (s->text = cw_strdup(text)) == NULL) {
			cw_free(s);
			return cw_fail(msg, CW_ENOMEM, "out of memory");
		}
		cw_list_init(&s->jobs);
		s->cloud = c;
		s->product = p;
		s->len = len;
	}
	cw_cloud_script_free(p);
	p->script = s;
	cw_cloud_product_changed(c, p);
	return 0;
}

void cw_cloud_script_free(struct cloud_product *p)
{
	struct cloud_script *s = p->script;

	if (s == NULL)
		return;
	abandon(s, NULL);
	if (s->process != NULL)
		process_drop(s->process);
	json_decref(s->errors);
	cw_free(s->text);
	cw_free(s);
	p->script = NULL;
}

const char *cw_cloud_script_text(const struct cloud_product *p)
{
	return p->script != NULL ? p->script->text : NULL;
}

json_t *cw_cloud_script_errors(const struct cloud_product *p)
{
	return p->script != NULL && p->script->errors != NULL ? json_copy(p->script->errors) : json_array();
}

int cw_cloud_script_mentions(const struct cloud_product *p, enum script_frame kind)
{
	return p->script != NULL && strstr(p->script->text, functions[kind]) != NULL;
}

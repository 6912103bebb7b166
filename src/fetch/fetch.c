/*
 * fetch.c - see fetch.h.
 *
 * libcurl says which descriptors to watch and when to wake it; uv_poll and one uv_timer
 * do. Three rules keep that sound:
 *   - a callback of libcurl must not call libcurl. What a caller starts, cancels or frees
 *     from `on_data` is noted and done when libcurl has returned (tidy());
 *   - telling libcurl that a descriptor cannot be watched would end the whole pool, so the
 *     call it belongs to ends instead;
 *   - libcurl counts no time while a call waits for one of the connections of its host. So
 *     the time for the whole call, and the time without a byte, are counted here.
 */
#include "fetch/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/stat.h"

#define HOST_CONNECTIONS 8L
#define KEPT_CONNECTIONS 64L
#define CONNECT_MS 10000u
#define TOTAL_MS 30000u
#define MOST_BYTES ((size_t)1 << 20)
#define CA_KEPT_S 60L /* a replaced file of authorities counts after that long */
#define STALL_LOOKS 4u   /* looks within stall_ms: given up at most a quarter later */

struct cw_fetch_pool {
	struct cw_worker *w;
	CURLM *multi; /* NULL: freed, waits for its handles to close */
	uv_timer_t timer;
	struct cw_list calls;
	unsigned handles; /* open in the loop; this struct goes with the last */
	int in_curl;      /* libcurl is on the stack */
	int untidy;       /* tidy() has something to do */
	int dead;
};

struct watch {
	uv_poll_t poll;
	struct cw_fetch_pool *pool;
	curl_socket_t fd;
};

struct cw_fetch {
	struct cw_fetch_pool *pool;
	struct cw_list link;
	CURL *easy;
	struct curl_slist *headers;
	int ready;     /* to be added to the multi handle */
	int added;
	int cancelled; /* goes in tidy() */
	int ending;    /* `done` runs */
	int rc;        /* 0, or with what we end it */
	const char *why; /* static; says more about rc */
	struct cw_timer deadline, look;
	unsigned stall_ms;
	uint64_t moved, moved_ms; /* bytes so far, and when that changed */
	int (*on_data)(void *ctx, int status, struct cw_bytes piece);
	void (*done)(void *ctx, const struct cw_fetch_reply *reply);
	void *ctx;
	size_t most, total; /* of the answer's body */
	uint8_t *got;       /* owned; unused with on_data */
	size_t room;
	char where[320]; /* scheme, host and port, for people */
	char detail[CURL_ERROR_SIZE];
	size_t body_len;
	uint8_t body[];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_rc;

static void init_once(void)
{
	global_rc = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- one call ------------------------------------------------------------------- */

static struct cw_timers *timers(struct cw_fetch *f)
{
	return cw_worker_timers(f->pool->w);
}

static void free_headers(struct curl_slist *list)
{
	struct curl_slist *s;

	for (s = list; s != NULL; s = s->next) /* tokens and keys */
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(list);
}

static void free_fetch(struct cw_fetch *f)
{
	curl_easy_cleanup(f->easy);
	free_headers(f->headers);
	if (f->got != NULL)
		explicit_bzero(f->got, f->room);
	cw_free(f->got);
	explicit_bzero(f->body, f->body_len);
	cw_free(f);
}

/* Nothing of loop and pool points to it any more. Not inside libcurl. */
static void detach(struct cw_fetch *f)
{
	if (f->added)
		(void)curl_multi_remove_handle(f->pool->multi, f->easy);
	f->added = 0;
	cw_timer_stop(timers(f), &f->deadline);
	cw_timer_stop(timers(f), &f->look);
	cw_list_remove(&f->link);
}

struct meaning {
	CURLcode code;
	int rc;
	const char *text; /* NULL: libcurl's own words say it */
};

static const struct meaning meanings[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, CW_EUNREACH, "the name has no address" },
	{ CURLE_COULDNT_CONNECT, CW_EUNREACH, NULL },
	{ CURLE_OPERATION_TIMEDOUT, CW_ETIMEDOUT, "no connection in time" },
	{ CURLE_SSL_CONNECT_ERROR, CW_EACCESS, NULL },
	{ CURLE_PEER_FAILED_VERIFICATION, CW_EACCESS, NULL },
	{ CURLE_SSL_CERTPROBLEM, CW_EACCESS, NULL },
	{ CURLE_SSL_CIPHER, CW_EACCESS, NULL },
	{ CURLE_SSL_CACERT_BADFILE, CW_EACCESS, NULL },
	{ CURLE_SSL_ISSUER_ERROR, CW_EACCESS, NULL },
	{ CURLE_FILESIZE_EXCEEDED, CW_ELIMIT, "the answer is larger than allowed" },
	{ CURLE_OUT_OF_MEMORY, CW_ENOMEM, "out of memory" },
	{ CURLE_URL_MALFORMAT, CW_EINVAL, "the address is malformed" },
	{ CURLE_PARTIAL_FILE, CW_EIO, "the connection ended in the middle of the answer" },
	{ CURLE_GOT_NOTHING, CW_EIO, "the connection ended without an answer" },
	{ CURLE_RECV_ERROR, CW_EIO, "the connection broke while the answer was read" },
	{ CURLE_SEND_ERROR, CW_EIO, "the connection broke while the request was sent" },
	{ CURLE_UNSUPPORTED_PROTOCOL, CW_EIO, "the answer is not HTTP" },
};

static const struct meaning *meaning_of(CURLcode code)
{
	static const struct meaning other = { CURLE_OK, CW_EIO, NULL };
	size_t i;

	for (i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].code == code)
			return &meanings[i];
	return &other;
}

/* A handshake that the other side or the network broke off says nothing about certificates. */
static int broken_off(struct cw_fetch *f, CURLcode code, long err)
{
	return code == CURLE_SSL_CONNECT_ERROR && (err == ECONNRESET || err == EPIPE || strstr(f->detail, "SYSCALL") != NULL);
}

/* Our own ends (f->rc) first: libcurl only knows that a callback of ours said no. */
static int explain(struct cw_fetch *f, CURLcode code, char *text, size_t size)
{
	const struct meaning *m = meaning_of(code);
	const char *why = f->why;
	char said[128], *c;
	int rc = f->rc;
	long err = 0;

	if (rc == 0 && code == CURLE_OK)
		return 0;
	(void)curl_easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &err);
	if (rc == 0 && broken_off(f, code, err)) {
		rc = CW_EUNREACH;
		why = "the connection ended during the TLS handshake";
	} else if (rc == 0 && code == CURLE_COULDNT_CONNECT && err != 0) { /* libcurl does not say why */
		rc = m->rc;
		why = strerror_r((int)err, said, sizeof(said));
	} else if (rc == 0) {
		rc = m->rc;
		why = m->text != NULL ? m->text : f->detail[0] != '\0' ? f->detail : curl_easy_strerror(code);
	} else if (why == NULL) {
		why = cw_error_text(rc);
	}
	(void)snprintf(text, size, "%s: %s", f->where, why);
	for (c = text; *c != '\0'; c++) /* names in foreign certificates are foreign bytes */
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = '.';
	return rc;
}

int cw_fetch_sent(const struct cw_fetch *f)
{
	long sent = 0;

	(void)curl_easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &sent);
	return sent > 0;
}

/* The one end of a call that was not cancelled. */
static void finish(struct cw_fetch *f, CURLcode code)
{
	struct cw_fetch_reply reply = { 0 };
	char text[sizeof(f->where) + CURL_ERROR_SIZE + 4] = "";
	long status = 0;

	reply.rc = explain(f, code, text, sizeof(text));
	reply.text = text;
	(void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	reply.status = (int)status;
	reply.sent = cw_fetch_sent(f);
	if (reply.rc == 0 && f->on_data == NULL)
		reply.body = cw_bytes_of(f->got, f->total);
	if (reply.rc < 0)
		cw_count(fetch, failed);
	detach(f);
	f->ending = 1;
	f->done(f->ctx, &reply);
	free_fetch(f);
}

/* ---- callbacks of libcurl --------------------------------------------------------- */

static int keep(struct cw_fetch *f, const char *ptr, size_t n)
{
	size_t room = f->room == 0 ? 1024 : f->room;
	uint8_t *bigger;

	while (room < f->total + n)
		room *= 2;
	if (room != f->room) {
		bigger = cw_alloc(room);
		if (bigger == NULL)
			return CW_ENOMEM;
		if (f->got != NULL) {
			memcpy(bigger, f->got, f->total);
			explicit_bzero(f->got, f->room);
			cw_free(f->got);
		}
		f->got = bigger;
		f->room = room;
	}
	memcpy(f->got + f->total, ptr, n);
	return 0;
}

static size_t on_write(char *ptr, size_t size, size_t count, void *arg)
{
	struct cw_fetch *f = arg;
	size_t n = size * count;
	long status = 0;

	if (f->rc != 0 || f->cancelled)
		return 0;
	if (n > f->most - f->total) {
		f->rc = CW_ELIMIT;
		f->why = "the answer is larger than allowed";
		return 0;
	}
	if (f->on_data != NULL) {
		(void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
		f->rc = f->on_data(f->ctx, (int)status, cw_bytes_of(ptr, n));
	} else {
		f->rc = keep(f, ptr, n);
	}
	f->total += n;
	return f->rc != 0 || f->cancelled ? 0 : n;
}

static void on_pool_closed(struct cw_fetch_pool *pool)
{
	if (--pool->handles == 0)
		cw_free(pool);
}

static void on_watch_closed(uv_handle_t *h)
{
	struct watch *w = h->data;
	struct cw_fetch_pool *pool = w->pool;

	cw_free(w);
	on_pool_closed(pool);
}

static void on_timer_closed(uv_handle_t *h)
{
	on_pool_closed(h->data);
}

static void tidy(struct cw_fetch_pool *pool);

static void drive(struct cw_fetch_pool *pool, curl_socket_t fd, int events)
{
	int running;

	if (pool->multi == NULL)
		return;
	pool->in_curl = 1;
	(void)curl_multi_socket_action(pool->multi, fd, events, &running);
	pool->in_curl = 0;
	tidy(pool);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	int what = 0;

	if (status < 0)
		what = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		what |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		what |= CURL_CSELECT_OUT;
	drive(w->pool, w->fd, what);
}

static struct watch *watch_new(struct cw_fetch_pool *pool, curl_socket_t fd)
{
	struct watch *w = cw_zalloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	if (uv_poll_init(cw_worker_loop(pool->w), &w->poll, fd) < 0) {
		cw_free(w);
		return NULL;
	}
	w->poll.data = w;
	w->pool = pool;
	w->fd = fd;
	pool->handles++;
	return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct cw_fetch_pool *pool = arg;
	struct watch *w = known;
	struct cw_fetch *f = NULL;
	int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			(void)curl_multi_assign(pool->multi, fd, NULL);
			uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, on_watch_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = watch_new(pool, fd);
		if (w != NULL)
			(void)curl_multi_assign(pool->multi, fd, w);
	}
	if (w != NULL && uv_poll_start(&w->poll, events, on_ready) == 0)
		return 0;
	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&f);
	if (f != NULL && f->rc == 0) {
		f->rc = CW_ENOMEM;
		pool->untidy = 1;
	}
	return 0;
}

static void on_timer(uv_timer_t *t)
{
	drive(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_wake(CURLM *multi, long ms, void *arg)
{
	struct cw_fetch_pool *pool = arg;

	if (uv_is_closing((uv_handle_t *)&pool->timer))
		return 0;
	if (ms < 0)
		uv_timer_stop(&pool->timer);
	else
		uv_timer_start(&pool->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

/* ---- the pool ----------------------------------------------------------------------- */

static void close_pool(struct cw_fetch_pool *pool)
{
	struct cw_list *e;

	while ((e = cw_list_first(&pool->calls)) != NULL) {
		struct cw_fetch *f = cw_container_of(e, struct cw_fetch, link);

		detach(f);
		free_fetch(f);
	}
	(void)curl_multi_cleanup(pool->multi);
	pool->multi = NULL;
	uv_close((uv_handle_t *)&pool->timer, on_timer_closed);
}

static int add(struct cw_fetch *f)
{
	if (curl_multi_add_handle(f->pool->multi, f->easy) != CURLM_OK)
		return CW_ENOMEM;
	f->added = 1;
	return 0;
}

/* One call that changed while libcurl was on the stack. 0: none is left. */
static int tidy_one(struct cw_fetch_pool *pool)
{
	struct cw_list *e;

	cw_list_each (e, &pool->calls) {
		struct cw_fetch *f = cw_container_of(e, struct cw_fetch, link);

		if (f->cancelled) {
			detach(f);
			free_fetch(f);
			return 1;
		}
		if (f->rc == 0 && f->ready && !f->added)
			f->rc = add(f);
		if (f->rc != 0) {
			finish(f, CURLE_OK);
			return 1;
		}
	}
	return 0;
}

/* libcurl has returned: do what was put off, and tell who is finished. */
static void tidy(struct cw_fetch_pool *pool)
{
	CURLMsg *m;
	int left;

	while (!pool->dead && pool->untidy) {
		pool->untidy = 0;
		while (!pool->dead && tidy_one(pool))
			;
	}
	while (!pool->dead && (m = curl_multi_info_read(pool->multi, &left)) != NULL) {
		struct cw_fetch *f = NULL;

		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
		if (m->msg == CURLMSG_DONE && f != NULL)
			finish(f, m->data.result);
	}
	if (pool->dead && pool->multi != NULL)
		close_pool(pool);
}

int cw_fetch_pool_new(struct cw_worker *w, struct cw_fetch_pool **ret_pool)
{
	struct cw_fetch_pool *pool;

	(void)pthread_once(&once, init_once);
	if (global_rc != CURLE_OK)
		return CW_EINTERNAL;
	pool = cw_zalloc(sizeof(*pool));
	if (pool == NULL)
		return CW_ENOMEM;
	pool->multi = curl_multi_init();
	if (pool->multi == NULL || uv_timer_init(cw_worker_loop(w), &pool->timer) < 0) {
		(void)curl_multi_cleanup(pool->multi);
		cw_free(pool);
		return CW_ENOMEM;
	}
	pool->w = w;
	pool->timer.data = pool;
	pool->handles = 1;
	cw_list_init(&pool->calls);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_wake);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_MAX_HOST_CONNECTIONS, HOST_CONNECTIONS);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
	(void)curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*ret_pool = pool;
	return 0;
}

void cw_fetch_pool_free(struct cw_fetch_pool *pool)
{
	struct cw_list *e;

	if (pool == NULL || pool->dead)
		return;
	pool->dead = 1;
	cw_list_each (e, &pool->calls)
		cw_container_of(e, struct cw_fetch, link)->cancelled = 1;
	if (!pool->in_curl)
		close_pool(pool);
}

/* ---- starting a call ------------------------------------------------------------------ */

static void on_deadline(struct cw_timer *t)
{
	struct cw_fetch *f = cw_container_of(t, struct cw_fetch, deadline);

	f->rc = CW_ETIMEDOUT;
	f->why = "not finished in time";
	finish(f, CURLE_OK);
}

static void on_bad_url(struct cw_timer *t)
{
	struct cw_fetch *f = cw_container_of(t, struct cw_fetch, deadline);

	f->rc = CW_EINVAL;
	f->why = "not like https://host:port/path, or with a user name in it";
	finish(f, CURLE_OK);
}

static uint64_t bytes_moved(struct cw_fetch *f)
{
	curl_off_t up = 0, down = 0;
	long head = 0, asked = 0;

	(void)curl_easy_getinfo(f->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	(void)curl_easy_getinfo(f->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	(void)curl_easy_getinfo(f->easy, CURLINFO_HEADER_SIZE, &head);
	(void)curl_easy_getinfo(f->easy, CURLINFO_REQUEST_SIZE, &asked);
	return (uint64_t)up + (uint64_t)down + (uint64_t)head + (uint64_t)asked;
}

/* Counts from when the connection is there: before that connect_timeout_ms rules, or other calls are served first. */
static void on_look(struct cw_timer *t)
{
	struct cw_fetch *f = cw_container_of(t, struct cw_fetch, look);
	uint64_t now = cw_worker_now(f->pool->w), moved = bytes_moved(f);
	curl_off_t begun = 0;

	(void)curl_easy_getinfo(f->easy, CURLINFO_PRETRANSFER_TIME_T, &begun);
	if (begun == 0 || moved != f->moved || f->moved_ms == 0) {
		f->moved = moved;
		f->moved_ms = now;
	} else if (now - f->moved_ms >= f->stall_ms) {
		f->rc = CW_ETIMEDOUT;
		f->why = "no byte came or went for too long";
		finish(f, CURLE_OK);
		return;
	}
	cw_timer_set(timers(f), &f->look, f->stall_ms / STALL_LOOKS, on_look);
}

/* "scheme://host:port", never user, path or query. 0, or the address is of no use. */
static int read_url(const char *url, char *where, size_t size)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	int rc = CW_EINVAL;

	(void)snprintf(where, size, "the address");
	if (u == NULL)
		return CW_ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
		(void)snprintf(where, size, "%s://%s:%s", scheme, host, port);
		(void)curl_url_get(u, CURLUPART_USER, &user, 0);
		if ((strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) && user == NULL)
			rc = 0;
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	curl_url_cleanup(u);
	return rc;
}

int cw_fetch_check_url(const char *url)
{
	char where[sizeof(((struct cw_fetch *)NULL)->where)];

	return read_url(url, where, sizeof(where));
}

static int add_header(struct cw_fetch *f, const char *text)
{
	struct curl_slist *longer = curl_slist_append(f->headers, text);

	if (longer == NULL)
		return CW_ENOMEM;
	f->headers = longer;
	return 0;
}

/* CW_EINVAL: a value with a line break in it would be two headers. */
static int set_headers(struct cw_fetch *f, const char *const *headers)
{
	int has_type = 0, rc = add_header(f, "Expect:"); /* no waiting for a 100 */

	for (; rc == 0 && headers != NULL && *headers != NULL; headers++) {
		if (strpbrk(*headers, "\r\n") != NULL)
			return CW_EINVAL;
		has_type |= strncasecmp(*headers, "Content-Type:", 13) == 0;
		rc = add_header(f, *headers);
	}
	if (rc == 0 && !has_type)
		rc = add_header(f, "Content-Type:"); /* libcurl would call any body a form */
	return rc;
}

static CURLcode set_method(struct cw_fetch *f, const char *method)
{
	CURLcode rc;

	if (method == NULL)
		method = f->body_len > 0 ? "POST" : "GET";
	if (strcmp(method, "HEAD") == 0)
		return curl_easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
	if (strcmp(method, "GET") == 0 && f->body_len == 0)
		return curl_easy_setopt(f->easy, CURLOPT_HTTPGET, 1L);
	rc = curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
	if (f->body_len == 0 && strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0)
		return rc;
	(void)curl_easy_setopt(f->easy, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, (void *)&f->body[0]);
	(void)curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body_len);
	return rc;
}

/* Setting a text copies it, which needs memory; setting a number cannot fail. */
static CURLcode set_tls(struct cw_fetch *f, const struct cw_fetch_tls *tls)
{
	CURLcode rc;

	(void)curl_easy_setopt(f->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYPEER, tls->verify ? 1L : 0L);
	(void)curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
	(void)curl_easy_setopt(f->easy, CURLOPT_CA_CACHE_TIMEOUT, CA_KEPT_S);
	/* These authorities and no others. */
	rc = curl_easy_setopt(f->easy, CURLOPT_CAINFO, tls->ca != NULL ? tls->ca : cw_file_authorities());
	(void)curl_easy_setopt(f->easy, CURLOPT_CAPATH, NULL);
	if (rc == CURLE_OK && tls->certificate != NULL)
		rc = curl_easy_setopt(f->easy, CURLOPT_SSLCERT, tls->certificate);
	if (rc == CURLE_OK && tls->key != NULL)
		rc = curl_easy_setopt(f->easy, CURLOPT_SSLKEY, tls->key);
	return rc;
}

static int set_up(struct cw_fetch *f, const struct cw_fetch_request *r)
{
	CURL *e = curl_easy_init();
	unsigned connect_ms = r->connect_timeout_ms > 0 ? r->connect_timeout_ms : CONNECT_MS;
	int rc;

	f->easy = e;
	if (e == NULL)
		return CW_ENOMEM;
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, f);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->detail);
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a look-up of a name that hangs must not hold the loop */
	(void)curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
	if (r->method == NULL || strcmp(r->method, "HEAD") != 0) /* whose length announces nothing */
		(void)curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->most);
	rc = set_headers(f, r->headers);
	if (rc < 0)
		return rc;
	(void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers);
	if (curl_easy_setopt(e, CURLOPT_URL, r->url) != CURLE_OK || curl_easy_setopt(e, CURLOPT_PROXY, "") != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_USERAGENT, "causeway") != CURLE_OK || set_tls(f, &r->tls) != CURLE_OK ||
	    set_method(f, r->method) != CURLE_OK)
		return CW_ENOMEM;
	return 0;
}

int cw_fetch_start(struct cw_fetch_pool *pool, const struct cw_fetch_request *r, struct cw_fetch **ret_fetch)
{
	struct cw_fetch *f;
	int rc, bad_url = 0;

	if (pool->dead)
		return CW_ECLOSED;
	f = cw_zalloc(sizeof(*f) + r->body.len + 1);
	if (f == NULL)
		return CW_ENOMEM;
	f->pool = pool;
	f->on_data = r->on_data;
	f->done = r->done;
	f->ctx = r->ctx;
	f->stall_ms = r->stall_ms;
	f->most = r->most > 0 ? r->most : MOST_BYTES;
	f->body_len = r->body.len;
	if (r->body.len > 0)
		memcpy(f->body, r->body.ptr, r->body.len);
	cw_list_init(&f->link);
	rc = set_up(f, r);
	if (rc == 0) {
		rc = read_url(r->url, f->where, sizeof(f->where));
		bad_url = rc == CW_EINVAL; /* told like everything else about a call */
		if (rc == 0 && !pool->in_curl)
			rc = add(f);
	}
	if (rc < 0 && !bad_url) {
		free_fetch(f);
		return rc;
	}
	cw_count(fetch, calls);
	cw_list_push_back(&pool->calls, &f->link);
	f->ready = !bad_url;
	pool->untidy |= !f->added;
	cw_timer_set(timers(f), &f->deadline, bad_url ? 0 : r->timeout_ms > 0 ? r->timeout_ms : TOTAL_MS,
		     bad_url ? on_bad_url : on_deadline);
	if (f->stall_ms > 0 && !bad_url)
		cw_timer_set(timers(f), &f->look, f->stall_ms / STALL_LOOKS, on_look);
	if (ret_fetch != NULL)
		*ret_fetch = f;
	return 0;
}

void cw_fetch_cancel(struct cw_fetch *f)
{
	if (f->ending)
		return;
	if (f->pool->in_curl) {
		f->cancelled = 1;
		f->pool->untidy = 1;
		return;
	}
	detach(f);
	free_fetch(f);
}

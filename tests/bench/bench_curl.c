/*
 * bench_curl.c - the ceiling for what the gateway asks over HTTPS: the same requests to the same emulator from libcurl,
 * with a program around it that does nothing else.
 *
 *   bench_curl --url URL --requests FILE [--window N] [--seconds S | --once] [--field TEXT] [--want TEXT]
 *
 * FILE has one request a line, "PATH<tab>HEADER<tab>BODY"; they are sent in turn by POST, at most `--window` at once on
 * connections that are kept. An answer counts when it has TEXT of --want in it. Prints one line of JSON. With --once
 * each is sent once, all of them are measured.
 */
#include <getopt.h>
#include <string.h>

#include <curl/curl.h>

#include "meter.h"

#define WINDOW_MOST 64u

struct slot {
	CURL *curl;
	struct curl_slist *headers;
	char answer[4096];
	size_t len;
};

static struct {
	const char *url, *field, *want;
	char **requests;
	unsigned count, window;
	int once;
} conf = { .window = 8, .field = "Content-Type: application/octet-stream", .want = "" };

static struct meter meter = { .seconds = 2 };
static struct slot slots[WINDOW_MOST];
static unsigned turn, under_way;
static CURLM *multi;

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_curl: %s\n", what);
	exit(1);
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
	struct slot *s = arg;
	size_t n = len < sizeof(s->answer) - 1 - s->len ? len : sizeof(s->answer) - 1 - s->len;

	memcpy(s->answer + s->len, data, n);
	s->len += n;
	s->answer[s->len] = '\0';
	return len;
}

static void begin(struct slot *s)
{
	const char *line = conf.requests[turn++ % conf.count], *header = strchr(line, '\t'), *body;
	char url[1024], text[1024];

	body = header == NULL ? NULL : strchr(header + 1, '\t');
	if (body == NULL)
		die("a request is not like PATH<tab>HEADER<tab>BODY");
	(void)snprintf(url, sizeof(url), "%s%.*s", conf.url, (int)(header - line), line);
	(void)snprintf(text, sizeof(text), "%.*s", (int)(body - header - 1), header + 1);
	curl_slist_free_all(s->headers);
	s->headers = curl_slist_append(NULL, conf.field);
	if (text[0] != '\0')
		s->headers = curl_slist_append(s->headers, text);
	s->len = 0;
	(void)curl_easy_setopt(s->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
	(void)curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body + 1);
	if (curl_multi_add_handle(multi, s->curl) != CURLM_OK)
		die("curl_multi_add_handle");
	under_way++;
}

static void make_slot(struct slot *s)
{
	s->curl = curl_easy_init();
	if (s->curl == NULL)
		die("curl_easy_init");
	(void)curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
	(void)curl_easy_setopt(s->curl, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
	(void)curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYPEER, 0L);
	(void)curl_easy_setopt(s->curl, CURLOPT_SSL_VERIFYHOST, 0L);
	(void)curl_easy_setopt(s->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
}

static int has_more(void)
{
	return !conf.once || turn < conf.count;
}

static void take_answers(void)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(multi, &left)) != NULL) {
		struct slot *s = NULL;
		long status = 0;

		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s);
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		if (m->data.result == CURLE_OK && status == 200 && strstr(s->answer, conf.want) != NULL)
			meter.confirmed++;
		else if (meter.failed++ == 0)
			(void)fprintf(stderr, "bench_curl: %s, status %ld: %s\n", curl_easy_strerror(m->data.result),
				      status, s->answer);
		(void)curl_multi_remove_handle(multi, s->curl);
		under_way--;
		if (has_more())
			begin(s);
	}
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "url", 1, NULL, 'u' },  { "requests", 1, NULL, 'r' }, { "window", 1, NULL, 'w' }, { "seconds", 1, NULL, 's' },
		{ "once", 0, NULL, 'o' }, { "field", 1, NULL, 'f' },	{ "want", 1, NULL, 'a' },   { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u': conf.url = optarg; break;
		case 'r': conf.requests = read_lines(optarg, &conf.count); break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 's': meter.seconds = atof(optarg); break;
		case 'o': conf.once = 1; break;
		case 'f': conf.field = optarg; break;
		case 'a': conf.want = optarg; break;
		default: return -1;
		}
	}
	return conf.url != NULL && conf.requests != NULL && conf.window > 0 && conf.window <= WINDOW_MOST ? 0 : -1;
}

int main(int argc, char **argv)
{
	unsigned i;
	int running;

	if (parse(argc, argv) < 0) {
		(void)fputs("usage: bench_curl --url URL --requests FILE [--window N] [--seconds S | --once] [--field TEXT] "
			    "[--want TEXT]\n",
			    stderr);
		return 2;
	}
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	(void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)conf.window);
	if (conf.once)
		meter_begin(&meter);
	for (i = 0; i < conf.window && has_more(); i++) {
		make_slot(&slots[i]);
		begin(&slots[i]);
	}
	while (under_way > 0) {
		if (!conf.once && meter_over(&meter))
			return 0;
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			die("curl_multi_perform");
		take_answers();
		(void)curl_multi_poll(multi, NULL, 0, 100, NULL);
	}
	meter_print(&meter);
	return 0;
}

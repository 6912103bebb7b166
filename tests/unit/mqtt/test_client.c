/*
 * One suite for every MQTT client library behind client.h, against the scripted peer: what the table promises holds
 * for each of them. Real sockets, real libraries, MQTT 3.1.1; MQTT 5 needs a broker that speaks it and is tested
 * end to end (test_upstream_broker.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "mqtt/client.h"
#include "peer.h"

#define WINDOW 20

static struct {
	struct cw_worker *w;
	struct peer peer;
	const struct cw_mqtt_ops *ops;
	struct cw_mqtt_client *client;
	struct cw_mqtt_conf conf;
	int connected, code, down, gone, messages, retained, subscribed, refused, qos;
	char text[300], topic[100], payload[100], error[200];
} t;

static struct token {
	struct cw_mqtt_token token;
	int told;
} tokens[4 * WINDOW];

static long live_before;

static void on_connected(void *ctx, int code, const char *text)
{
	t.connected++;
	t.code = code;
	snprintf(t.text, sizeof(t.text), "%s", text);
}

static void on_down(void *ctx, const char *text)
{
	t.down++;
	snprintf(t.text, sizeof(t.text), "%s", text);
}

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload, int qos, int retained)
{
	t.messages++;
	t.qos = qos;
	t.retained = retained;
	snprintf(t.topic, sizeof(t.topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
	snprintf(t.payload, sizeof(t.payload), "%.*s", (int)payload.len, (const char *)payload.ptr);
}

static void on_subscribed(void *ctx, void *arg, int refused)
{
	assert_ptr_equal(arg, &t);
	t.subscribed++;
	t.refused = refused;
}

static void on_gone(void *ctx)
{
	t.gone++;
	t.client = NULL;
}

static const struct cw_mqtt_events events = { on_connected, on_down, on_message, on_subscribed, on_gone };

static int port_of(const char *line)
{
	assert_non_null(line);
	return atoi(strrchr(line, ':') + 1);
}

static void open_peer(const char *certificate, const char *key)
{
	peer_start(&t.peer, cw_worker_loop(t.w), certificate, key, NULL);
	t.conf.port = port_of(peer_expect(&t.peer, "\"ev\":\"port\"", ""));
	peer_do(&t.peer, "{\"do\":\"any\",\"value\":1}");
}

static int setup(void **state)
{
	memset(&t, 0, sizeof(t));
	memset(tokens, 0, sizeof(tokens));
	live_before = cw_mem_live();
	t.ops = *state;
	assert_int_equal(cw_worker_new("loop", 0, &t.w), 0);
	t.conf = (struct cw_mqtt_conf){ .host = "127.0.0.1",
					.client_id = "me",
					.keep_alive_s = 300,
					.connect_timeout_s = 15,
					.outstanding = WINDOW,
					.clean_session = 1 };
	open_peer(NULL, NULL);
	return 0;
}

static int start(void)
{
	return t.ops->connect(&t.conf, t.w, &events, NULL, t.error, sizeof(t.error), &t.client);
}

static void finish(int polite)
{
	t.ops->close(t.client, polite);
	assert_int_equal(t.gone, 0); /* it follows, it does not come from within */
	WAIT(t.gone == 1);
	assert_null(t.client);
}

static int teardown(void **state)
{
	if (t.client != NULL)
		finish(0);
	peer_stop(&t.peer);
	cw_worker_free(t.w);
	return cw_mem_live() == live_before ? 0 : -1;
}

static void up(void)
{
	assert_int_equal(start(), 0);
	assert_int_equal(t.connected, 0);
	WAIT(t.connected);
	assert_int_equal(t.code, 0);
}

static void on_done(struct cw_mqtt_token *token)
{
	cw_container_of(token, struct token, token)->told++;
}

static int publish(int i, int qos)
{
	char topic[40];

	snprintf(topic, sizeof(topic), "a/%d", i);
	tokens[i].token.done = on_done;
	return t.ops->publish(t.client, topic, cw_bytes_text("hello"), qos, 0, &tokens[i].token);
}

static int told(int from, int to)
{
	int n = 0;

	for (; from < to; from++)
		n += tokens[from].told;
	return n;
}

/* ---- connecting ------------------------------------------------------------- */

static void a_connection_comes_up_and_ends_politely(void **state)
{
	up();
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"",
				    "\"id\":\"me\",\"level\":4,\"clean\":1,\"code\":0,\"will\":null"));
	finish(1);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"disconnect\"", ""));
	assert_int_equal(t.down, 0);
	assert_int_equal(t.connected, 1);
}

static void a_session_is_kept_and_a_will_is_left_where_they_are_asked_for(void **state)
{
	t.conf.clean_session = 0;
	t.conf.will_topic = "bridge/state";
	t.conf.will = cw_bytes_text("offline");
	t.conf.will_qos = t.conf.will_retain = 1;
	up();
	assert_non_null(peer_expect(&t.peer, "\"clean\":0,\"code\":0,\"will\":[\"bridge/state\",\"offline\"]",
				    "\"will_qos\":1,\"will_retain\":1"));
}

static void an_impolite_end_says_nothing(void **state)
{
	up();
	finish(0);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"closed\"", ""));
	if (t.ops != &cw_mqtt_paho) /* whose clients cannot be ended in silence */
		assert_int_equal(peer_count(&t.peer, "\"ev\":\"disconnect\"", ""), 0);
}

static void a_refusal_has_its_code(void **state)
{
	peer_do(&t.peer, "{\"do\":\"connack\",\"value\":4}");
	assert_int_equal(start(), 0);
	WAIT(t.connected);
	assert_int_equal(t.code, 4);
	finish(0);
	assert_int_equal(t.connected, 1);
	assert_int_equal(t.down, 0);
}

static void nobody_listens(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0); /* taken, and not listened on */
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	t.conf.port = ntohs(at.sin_port);
	assert_int_equal(start(), 0);
	WAIT(t.connected);
	assert_true(t.code < 0);
	assert_true(t.text[0] != '\0');
	finish(1);
	close(fd);
}

static void a_name_that_does_not_resolve(void **state)
{
	t.conf.host = "no-such-host.invalid";
	assert_int_equal(start(), 0);
	WAIT(t.connected);
	assert_true(t.code < 0);
	assert_string_equal(t.text, "its name cannot be resolved");
}

static void closed_while_the_name_is_looked_up(void **state)
{
	t.conf.host = "localhost";
	assert_int_equal(start(), 0);
	finish(0);
	assert_int_equal(t.connected, 0);
}

static void a_peer_that_does_not_answer_is_given_up(void **state)
{
	peer_do(&t.peer, "{\"do\":\"silent\",\"value\":1}");
	t.conf.connect_timeout_s = 1;
	assert_int_equal(start(), 0);
	WAIT(t.connected);
	assert_true(t.code < 0);
	finish(0);
	assert_int_equal(t.connected, 1);
}

static void closed_while_the_peer_is_silent(void **state)
{
	peer_do(&t.peer, "{\"do\":\"silent\",\"value\":1}");
	assert_int_equal(start(), 0);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", ""));
	finish(1);
	assert_int_equal(t.connected, 0);
}

static void without_memory_it_is_refused_or_works(void **state)
{
	int n;

	for (n = 0;; n++) {
		int rc;

		cw_mem_fail_at(n);
		rc = start();
		cw_mem_fail_at(-1);
		if (rc == 0)
			break;
		assert_int_equal(rc, CW_ENOMEM);
		assert_true(n < 50);
	}
	assert_true(n > 0);
	WAIT(t.connected);
	assert_int_equal(t.code, 0);
}

/* ---- publishing ---------------------------------------------------------------- */

static void each_publish_is_told_once(void **state)
{
	int i;

	up();
	for (i = 0; i < WINDOW; i++)
		assert_int_equal(publish(i, i % 2), 0);
	assert_int_equal(told(0, WINDOW), 0);
	WAIT(told(0, WINDOW) == WINDOW);
	for (i = 0; i < WINDOW; i++) {
		assert_int_equal(tokens[i].told, 1);
		assert_int_equal(tokens[i].token.rc, 0);
	}
	for (i = 0; i < WINDOW; i++) {
		char topic[60];

		snprintf(topic, sizeof(topic), "\"topic\":\"a/%d\",\"qos\":%d,\"retain\":0", i, i % 2);
		assert_non_null(peer_expect(&t.peer, topic, "hello")); /* all, and in the order they were given */
	}
	finish(1);
	assert_int_equal(told(0, WINDOW), WINDOW);
}

static void a_retained_message_is_marked(void **state)
{
	up();
	tokens[0].token.done = on_done;
	assert_int_equal(t.ops->publish(t.client, "s", cw_bytes_text("online"), 1, 1, &tokens[0].token), 0);
	assert_non_null(peer_expect(&t.peer, "\"topic\":\"s\",\"qos\":1,\"retain\":1", "online"));
	WAIT(tokens[0].told);
}

static void nothing_goes_out_before_it_is_up_or_after_close(void **state)
{
	assert_int_equal(start(), 0);
	assert_int_equal(publish(0, 1), CW_ECLOSED);
	WAIT(t.connected);
	t.ops->close(t.client, 1);
	assert_int_equal(publish(0, 1), CW_ECLOSED);
	WAIT(t.gone);
	assert_int_equal(tokens[0].told, 0);
}

static void a_full_window_takes_no_more_until_there_is_room(void **state)
{
	int i, rc = 0;

	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	up();
	for (i = 0; i < 4 * WINDOW && rc == 0; i++)
		rc = publish(i, 1);
	assert_int_equal(rc, CW_EBUSY);
	i--;
	assert_int_equal(i, WINDOW);
	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":0}");
	WAIT(told(0, i) == i);
	assert_int_equal(publish(i, 1), 0);
	WAIT(tokens[i].told == 1);
}

static void closed_with_messages_under_way_each_is_told_once(void **state)
{
	int i;

	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	up();
	for (i = 0; i < WINDOW / 2; i++)
		assert_int_equal(publish(i, 1), 0);
	finish(*state == &cw_mqtt_paho ? 0 : 1); /* Paho's goodbye is that of the test below */
	for (i = 0; i < WINDOW / 2; i++) {
		assert_int_equal(tokens[i].told, 1);
		assert_int_equal(tokens[i].token.rc, CW_ECLOSED);
	}
}

static void a_polite_end_waits_for_what_is_under_way(void **state)
{
	int i;

	up();
	for (i = 0; i < WINDOW / 2; i++)
		assert_int_equal(publish(i, 1), 0);
	finish(1);
	for (i = 0; i < WINDOW / 2; i++)
		assert_int_equal(tokens[i].told, 1);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "a/9"));
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"disconnect\"", ""));
}

static void a_peer_that_reads_nothing_stalls_nobody(void **state)
{
	static char big[200000];
	int i, n = 0;

	memset(big, 'x', sizeof(big));
	up();
	peer_do(&t.peer, "{\"do\":\"deaf\",\"value\":1}");
	for (i = 0; i < WINDOW; i++) {
		tokens[i].token.done = on_done;
		n += t.ops->publish(t.client, "big", cw_bytes_of(big, sizeof(big)), 1, 0, &tokens[i].token) == 0;
	}
	assert_int_equal(n, WINDOW);
	peer_do(&t.peer, "{\"do\":\"mute\",\"value\":0}"); /* the loop turns all the while */
	assert_int_equal(told(0, WINDOW), 0);
	finish(1); /* and it ends, although the peer does not read the goodbye */
	assert_int_equal(told(0, WINDOW), WINDOW);
}

/* ---- the connection ends ---------------------------------------------------------- */

static void a_connection_that_ends_is_told(void **state)
{
	int i;

	peer_do(&t.peer, "{\"do\":\"hold\",\"value\":1}");
	up();
	for (i = 0; i < WINDOW / 2; i++)
		assert_int_equal(publish(i, 1), 0);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "a/9"));
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(t.down == 1);
	assert_int_equal(publish(i, 1), CW_ECLOSED);
	finish(0);
	assert_int_equal(t.down, 1);
	for (i = 0; i < WINDOW / 2; i++) {
		assert_int_equal(tokens[i].told, 1);
		assert_int_equal(tokens[i].token.rc, CW_ECLOSED);
	}
}

static void a_message_cut_in_the_middle_is_no_message(void **state)
{
	up();
	peer_do(&t.peer, "{\"do\":\"half\"}");
	WAIT(t.down == 1);
	assert_int_equal(t.messages, 0);
}

/* ---- subscribing --------------------------------------------------------------------- */

static void messages_come_in(void **state)
{
	static const char *const topics[] = { "x/+", "y/#" };

	up();
	assert_int_equal(t.ops->subscribe(t.client, topics, 2, &t), 0);
	WAIT(t.subscribed);
	assert_int_equal(t.refused, 0);
	peer_do(&t.peer, "{\"do\":\"push\",\"topic\":\"x/1\",\"payload\":\"first\",\"qos\":0}");
	WAIT(t.messages == 1);
	assert_string_equal(t.topic, "x/1");
	assert_string_equal(t.payload, "first");
	assert_int_equal(t.qos, 0);
	peer_do(&t.peer, "{\"do\":\"push\",\"topic\":\"y/2/3\",\"payload\":\"\",\"qos\":1}");
	WAIT(t.messages == 2);
	assert_string_equal(t.topic, "y/2/3");
	assert_string_equal(t.payload, "");
	assert_int_equal(t.qos, 1);
	assert_int_equal(t.retained, 0);
}

static void refused_topics_are_named(void **state)
{
	static const char *const topics[] = { "a", "b", "c" };

	up();
	peer_do(&t.peer, "{\"do\":\"suback\",\"value\":[1,128,1]}");
	assert_int_equal(t.ops->subscribe(t.client, topics, 3, &t), 0);
	WAIT(t.subscribed == 1);
	assert_int_equal(t.refused, 2);
	peer_do(&t.peer, "{\"do\":\"suback\",\"value\":[128]}");
	assert_int_equal(t.ops->subscribe(t.client, topics, 1, &t), 0);
	WAIT(t.subscribed == 2);
	assert_int_equal(t.refused, 1);
	assert_int_equal(t.ops->subscribe(t.client, topics, 9, &t), CW_EINVAL);
}

/* ---- TLS -------------------------------------------------------------------------------- */

static struct peer_pems pems;

static int make_certificates(void **state)
{
	return peer_pems_make(&pems, "localhost");
}

static int remove_certificates(void **state)
{
	return peer_pems_remove(&pems);
}

static int setup_tls(void **state)
{
	setup(state);
	peer_stop(&t.peer);
	open_peer(pems.certificate, pems.key);
	t.conf.tls = t.conf.verify = 1;
	t.conf.host = "localhost";
	t.conf.ca = pems.certificate;
	return 0;
}

static void tls_with_the_right_name(void **state)
{
	up();
	assert_int_equal(publish(0, 1), 0);
	WAIT(tokens[0].told);
	finish(1);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"disconnect\"", ""));
}

static void refused_by_tls(void)
{
	assert_int_equal(start(), 0);
	WAIT(t.connected);
	assert_true(t.code < 0);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"connect\"", ""), 0);
}

static void tls_with_a_certificate_of_somebody_else(void **state)
{
	t.conf.ca = pems.other;
	refused_by_tls();
	assert_non_null(strstr(t.text, "certificate verify failed"));
}

static void tls_with_another_name(void **state)
{
	t.conf.host = "127.0.0.1";
	refused_by_tls();
}

static void tls_that_checks_nothing(void **state)
{
	t.conf.host = "127.0.0.1";
	t.conf.ca = NULL;
	t.conf.verify = 0;
	up();
}

static void tls_to_a_peer_that_speaks_none(void **state)
{
	peer_stop(&t.peer);
	open_peer(NULL, NULL);
	t.conf.connect_timeout_s = 2; /* it waits for the rest of what it takes for MQTT */
	refused_by_tls();
}

static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TLS(name) cmocka_unit_test_setup_teardown(name, setup_tls, teardown)
	TEST(a_connection_comes_up_and_ends_politely),
	TEST(a_session_is_kept_and_a_will_is_left_where_they_are_asked_for),
	TEST(an_impolite_end_says_nothing),
	TEST(a_refusal_has_its_code),
	TEST(nobody_listens),
	TEST(a_name_that_does_not_resolve),
	TEST(closed_while_the_name_is_looked_up),
	TEST(a_peer_that_does_not_answer_is_given_up),
	TEST(closed_while_the_peer_is_silent),
	TEST(without_memory_it_is_refused_or_works),
	TEST(each_publish_is_told_once),
	TEST(a_retained_message_is_marked),
	TEST(nothing_goes_out_before_it_is_up_or_after_close),
	TEST(a_full_window_takes_no_more_until_there_is_room),
	TEST(closed_with_messages_under_way_each_is_told_once),
	TEST(a_polite_end_waits_for_what_is_under_way),
	TEST(a_peer_that_reads_nothing_stalls_nobody),
	TEST(a_connection_that_ends_is_told),
	TEST(a_message_cut_in_the_middle_is_no_message),
	TEST(messages_come_in),
	TEST(refused_topics_are_named),
	TLS(tls_with_the_right_name),
	TLS(tls_with_a_certificate_of_somebody_else),
	TLS(tls_with_another_name),
	TLS(tls_that_checks_nothing),
	TLS(tls_to_a_peer_that_speaks_none),
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

int main(void)
{
	struct CMUnitTest run[2 * TESTS];
	static char names[2 * TESTS][100];
	size_t i, k, n = 0;

	for (k = 0; cw_mqtt_client_names[k] != NULL; k++)
		for (i = 0; i < TESTS; i++, n++) {
			run[n] = tests[i];
			run[n].initial_state = (void *)(uintptr_t)cw_mqtt_client((int)k);
			snprintf(names[n], sizeof(names[n]), "%s: %s", cw_mqtt_client_names[k], tests[i].name);
			run[n].name = names[n];
		}
	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(run, make_certificates, remove_certificates);
}

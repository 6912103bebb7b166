/* client.c - the MQTT client libraries to choose from. See client.h. */
#include "mqtt/inside.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

const char *const cw_mqtt_client_names[] = { "paho", "mosquitto", NULL };

static const struct cw_mqtt_ops *const clients[] = { &cw_mqtt_paho, &cw_mqtt_mosquitto };

const struct cw_mqtt_ops *cw_mqtt_client(int i)
{
	return clients[i];
}

int cw_mqtt_address(const struct addrinfo *list, unsigned n, char out[INET6_ADDRSTRLEN])
{
	static const int order[] = { AF_INET, AF_INET6 };
	const struct addrinfo *a;
	unsigned count = 0, i;

	for (a = list; a != NULL; a = a->ai_next)
		count += a->ai_family == AF_INET || a->ai_family == AF_INET6;
	if (count == 0)
		return 0;
	n %= count;
	for (i = 0; i < 2; i++)
		for (a = list; a != NULL; a = a->ai_next)
			if (a->ai_family == order[i] && n-- == 0)
				return uv_inet_ntop(
					       a->ai_family,
					       a->ai_family == AF_INET
						       ? (const void *)&(
								 (const struct sockaddr_in *)(const void *)a->ai_addr)
								 ->sin_addr
						       : (const void *)&(
								 (const struct sockaddr_in6 *)(const void *)a->ai_addr)
								 ->sin6_addr,
					       out, INET6_ADDRSTRLEN) == 0;
	return 0;
}

static int copy_text(char **to, const char *from)
{
	if (from == NULL)
		return 0;
	*to = cw_strdup(from);
	return *to == NULL ? CW_ENOMEM : 0;
}

int cw_mqtt_settings_copy(struct cw_mqtt_settings *to, const struct cw_mqtt_conf *conf)
{
	to->port = conf->port;
	to->tls = conf->tls;
	to->tls13 = conf->tls13;
	to->verify = conf->verify;
	to->keep_alive_s = conf->keep_alive_s;
	to->connect_timeout_s = conf->connect_timeout_s;
	to->outstanding = conf->outstanding;
	to->attempt = conf->attempt;
	to->mqtt5 = conf->mqtt5;
	to->clean_session = conf->clean_session;
	to->will_qos = conf->will_qos;
	to->will_retain = conf->will_retain;
	if (conf->will_topic != NULL && conf->will.len > 0) {
		to->will = cw_memdup(conf->will.ptr, conf->will.len);
		to->will_len = conf->will.len;
		if (to->will == NULL)
			return CW_ENOMEM;
	}
	if (copy_text(&to->host, conf->host) < 0 || copy_text(&to->ca, conf->ca) < 0 ||
	    copy_text(&to->certificate, conf->certificate) < 0 || copy_text(&to->key, conf->key) < 0 ||
	    copy_text(&to->client_id, conf->client_id) < 0 || copy_text(&to->user, conf->user) < 0 ||
	    copy_text(&to->password, conf->password) < 0 || copy_text(&to->will_topic, conf->will_topic) < 0 ||
	    copy_text(&to->ws_path, conf->ws_path) < 0)
		return CW_ENOMEM;
	return 0;
}

void cw_mqtt_settings_free(struct cw_mqtt_settings *s)
{
	if (s->password != NULL)
		explicit_bzero(s->password, strlen(s->password));
	cw_free(s->host);
	cw_free(s->ca);
	cw_free(s->certificate);
	cw_free(s->key);
	cw_free(s->client_id);
	cw_free(s->user);
	cw_free(s->password);
	cw_free(s->will_topic);
	cw_free(s->ws_path);
	cw_free(s->will);
}

void cw_mqtt_tls_text(char *out, size_t size, const char *line)
{
	const char *reason = strstr(line, "error:");
	int field;
	size_t n;

	for (field = 0; reason != NULL && field < 4; field++) {
		reason = strchr(reason, ':');
		if (reason != NULL)
			reason++;
	}
	if (reason == NULL || out[0] != '\0')
		return;
	n = strcspn(reason, ":\n");
	if (n < size) {
		memcpy(out, reason, n);
		out[n] = '\0';
	}
}

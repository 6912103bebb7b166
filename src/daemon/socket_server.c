/*
 * socket_server.c - socketServer { } of the Java server library, read as entries of listeners.
 *
 * The file is read a second time below a few lines that add the listeners, so that
 * everything else keeps the file, line and column where it was written.
 */
#include "daemon/socket_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "plugin/load.h"

struct socket_server {
	const char *protocol, *address, *listen_type;
	const char *key_password, *key_store_file, *key_store_type;
	struct cw_conf_strings ports;
	int backlog;
	bool broadcast, unsecured;
};

static void check_server(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct socket_server *s = conf;

	if (strcasecmp(s->listen_type, "tcp") != 0 && strcasecmp(s->listen_type, "udp") != 0)
		cw_conf_error_at(report, cw_value_get(object, "listenType"), "listenType: found \"%.40s\", accepted is tcp or udp", s->listen_type);
	if (s->key_store_file != NULL && !s->unsecured)
		cw_conf_error_at(report, cw_value_get(object, "keyStoreFile"),
		                 "keyStoreFile: Java key stores are not read; make PEM files of it (openssl pkcs12 -in STORE -nodes -out key.pem) and write "
		                 "listeners = [ { ..., transport = tls, tls { certificate = ..., key = ... } } ]");
	if (s->broadcast)
		cw_conf_warn_at(report, cw_value_get(object, "broadcastEnabled"), "broadcastEnabled has no effect: datagrams to broadcast addresses are not taken");
}

static const struct cw_conf_setting server_settings[] = {
	CW_CONF(struct socket_server, protocol, STRING, "protocol", NULL, NULL, NULL, "Protocol of the devices; default: --protocol."),
	CW_CONF(struct socket_server, address, STRING, "address", "0.0.0.0", NULL, NULL, "Address to listen on."),
	CW_CONF(struct socket_server, ports, STRINGS, "ports", "9123", NULL, NULL, "Ports to listen on."),
	CW_CONF(struct socket_server, backlog, INT, "backlog", "4096", "1", "65535", "Connections the kernel keeps until they are accepted."),
	CW_CONF(struct socket_server, listen_type, STRING, "listenType", "tcp", NULL, NULL, "tcp or udp."),
	CW_CONF(struct socket_server, broadcast, BOOL, "broadcastEnabled", "false", NULL, NULL, "No effect here."),
	CW_CONF(struct socket_server, unsecured, BOOL, "unsecured", "false", NULL, NULL, "true: keyStoreFile is left alone."),
	CW_CONF(struct socket_server, key_password, SECRET, "keyPassword", NULL, NULL, NULL, "Password of the key store."),
	CW_CONF(struct socket_server, key_store_file, STRING, "keyStoreFile", NULL, NULL, NULL, "Key store; refused, with what to do instead."),
	CW_CONF(struct socket_server, key_store_type, STRING, "keyStoreType", NULL, NULL, NULL, "Its type."),
	CW_CONF_END
};
static const struct cw_conf_table server_table = {
	.name = "socketServer", .size = sizeof(struct socket_server), .settings = server_settings, .check = check_server
};

/* ---- the lines that are added ------------------------------------------------- */

struct text {
	char *bytes;
	size_t len, size;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->bytes + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	t->len = (size_t)n < t->size - t->len ? t->len + (size_t)n : t->size;
}

static void add_quoted(struct text *t, const char *s)
{
	add(t, "\"");
	for (; *s != '\0'; s++)
		add(t, *s == '"' || *s == '\\' ? "\\%c" : (unsigned char)*s < 0x20 ? "\\u%04x" : "%c", (unsigned char)*s);
	add(t, "\"");
}

static void add_listeners(struct text *t, const char *path, const struct socket_server *s, const char *protocol)
{
	int v6 = strchr(s->address, ':') != NULL && s->address[0] != '[';
	size_t i;

	add(t, "include required(file(");
	add_quoted(t, path);
	add(t, "))\nlisteners = ${?listeners} [");
	for (i = 0; i < s->ports.count; i++) {
		char address[300];

		(void)snprintf(address, sizeof(address), v6 ? "[%.200s]:%.20s" : "%.200s:%.20s", s->address, s->ports.items[i]);
		add(t, "\n  { name = \"socketServer-%.20s\", transport = %s, backlog = %d, protocol = ", s->ports.items[i],
		    strcasecmp(s->listen_type, "udp") == 0 ? "udp" : "tcp", s->backlog);
		add_quoted(t, protocol);
		add(t, ", address = ");
		add_quoted(t, address);
		add(t, " }");
	}
	add(t, "\n]\n");
}

static int read_again(const char *path, const struct socket_server *s, const char *protocol, struct cw_conf_tree **tree, struct cw_msg *msg)
{
	struct text t = { .size = 4096 + 8 * strlen(path) + s->ports.count * 1024 };
	struct cw_conf_tree *with = NULL;
	char name[300];
	int rc;

	t.bytes = cw_alloc(t.size);
	if (t.bytes == NULL)
		return CW_ENOMEM;
	add_listeners(&t, path, s, protocol);
	(void)snprintf(name, sizeof(name), "socketServer of %.250s", path);
	rc = cw_conf_parse_text(name, t.bytes, t.len, NULL, &with, msg);
	cw_free(t.bytes);
	if (rc < 0)
		return rc;
	cw_conf_tree_unref(*tree);
	*tree = with;
	return 0;
}

/* No protocol: the sentence lists what there is. */
static void complain_protocol(const char *plugin_dir, const struct cw_value *object, struct cw_conf_report *report)
{
	char dir[1024], there[400];

	cw_plugin_dir(plugin_dir, dir, sizeof(dir));
	cw_plugin_list(dir, there, sizeof(there));
	cw_conf_error_at(report, object, "socketServer: protocol is missing; write protocol = ... in it or start with --protocol; there are: %s", there);
}

int cw_socket_server(const char *path, const char *protocol, const char *plugin_dir, struct cw_conf_tree **tree,
                     struct cw_conf_report *report, struct cw_msg *msg)
{
	const struct cw_value *object = cw_value_get(cw_conf_root(*tree), "socketServer");
	struct socket_server *s;
	void *conf = NULL;
	int rc;

	if (object == NULL || cw_value_type(object) == CW_VALUE_NULL)
		return 0;
	if (cw_value_type(object) != CW_VALUE_OBJECT) {
		cw_conf_error_at(report, object, "socketServer: found %s, accepted is an object", cw_value_type_name(cw_value_type(object)));
		return CW_ECONF;
	}
	rc = cw_conf_bind(&server_table, *tree, object, report, &conf);
	if (rc < 0)
		return rc;
	s = conf;
	protocol = s->protocol != NULL ? s->protocol : protocol;
	if (protocol == NULL) {
		complain_protocol(plugin_dir, object, report);
		rc = CW_ECONF;
	} else {
		rc = read_again(path, s, protocol, tree, msg);
	}
	cw_conf_free(conf);
	return rc;
}

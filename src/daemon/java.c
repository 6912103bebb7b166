/*
 * java.c - see java.h: keys of the Java libraries, read as listeners and an upstream.
 *
 * The file is read a second time below a few lines that add them, so that everything
 * else keeps the file, line and column where it was written.
 */
#include "daemon/java.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

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
	if (!s->unsecured && s->key_store_file != NULL && strcasecmp(s->listen_type, "udp") == 0)
		cw_conf_error_at(report, cw_value_get(object, "keyStoreFile"), "keyStoreFile: there is no TLS over UDP here; say unsecured = true, or listenType = tcp");
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
	CW_CONF(struct socket_server, key_store_file, STRING, "keyStoreFile", NULL, NULL, NULL, "Key store (PKCS#12) with the server's certificate: devices connect by TLS."),
	CW_CONF(struct socket_server, key_store_type, STRING, "keyStoreType", NULL, NULL, NULL, "Its type; what the file is decides."),
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

static void add_listeners(struct text *t, const struct socket_server *s, const char *protocol)
{
	int v6 = strchr(s->address, ':') != NULL && s->address[0] != '[';
	int secured = s->key_store_file != NULL && !s->unsecured;
	size_t i;

	add(t, "listeners = ${?listeners} [");
	for (i = 0; i < s->ports.count; i++) {
		char address[300];

		(void)snprintf(address, sizeof(address), v6 ? "[%.200s]:%.20s" : "%.200s:%.20s", s->address, s->ports.items[i]);
		add(t, "\n  { name = \"socketServer-%.20s\", transport = %s, backlog = %d, protocol = ", s->ports.items[i],
		    strcasecmp(s->listen_type, "udp") == 0 ? "udp" : secured ? "tls" : "tcp", s->backlog);
		add_quoted(t, protocol);
		add(t, ", address = ");
		add_quoted(t, address);
		if (secured) {
			add(t, ", tls { keyStore = ");
			add_quoted(t, s->key_store_file);
			add(t, ", keyPassword = ${?socketServer.keyPassword} }");
		}
		add(t, " }");
	}
	add(t, "\n]\n");
}

static int is_given(const struct cw_value *root, const char *key)
{
	const struct cw_value *v = cw_value_get(root, key);

	return v != NULL && cw_value_type(v) != CW_VALUE_NULL;
}

/* The mode counts where it is 3: the library, too, behaves the same for anything else. */
static void add_upstream(struct text *t, const struct cw_value *root)
{
	int32_t mode = 0;

	if (cw_value_get(root, "subDeviceConnectMode") != NULL)
		(void)cw_value_to_int32(cw_value_get(root, "subDeviceConnectMode"), &mode, NULL);
	add(t, "upstreams.\"" CW_JAVA_UPSTREAM "\" = { type = http2, endpoint = ${?http2Endpoint}, authEndpoint = ${?authEndpoint}, "
	       "large = %s } ${?upstreams.\"" CW_JAVA_UPSTREAM "\"}\n", mode == 3 ? "true" : "false");
}

/* The file again with what is to be added: `s` NULL: no listeners. */
static int read_again(const char *path, const struct socket_server *s, const char *protocol, int upstream, struct cw_conf_tree **tree,
                      struct cw_msg *msg)
{
	struct text t = { .size = 4096 + 8 * strlen(path) + (s == NULL ? 0 : s->ports.count * 2048) };
	struct cw_conf_tree *with = NULL;
	char name[300];
	int rc;

	t.bytes = cw_alloc(t.size);
	if (t.bytes == NULL)
		return CW_ENOMEM;
	add(&t, "include required(file(");
	add_quoted(&t, path);
	add(&t, "))\n");
	if (s != NULL)
		add_listeners(&t, s, protocol);
	if (upstream)
		add_upstream(&t, cw_conf_root(*tree));
	(void)snprintf(name, sizeof(name), "keys of the Java library in %.250s", path);
	rc = cw_conf_parse_text(name, t.bytes, t.len, NULL, &with, msg);
	cw_free(t.bytes);
	if (rc < 0)
		return rc;
	cw_conf_tree_unref(*tree);
	*tree = with;
	return 0;
}

static int bind_server(const struct cw_value *object, struct cw_conf_tree *tree, const char **protocol, const char *plugins,
                       struct cw_conf_report *report, struct socket_server **ret)
{
	void *conf = NULL;
	int rc;

	if (cw_value_type(object) != CW_VALUE_OBJECT) {
		cw_conf_error_at(report, object, "socketServer: found %s, accepted is an object", cw_value_type_name(cw_value_type(object)));
		return CW_ECONF;
	}
	rc = cw_conf_bind(&server_table, tree, object, report, &conf);
	if (rc < 0)
		return rc;
	*ret = conf;
	if ((*ret)->protocol != NULL)
		*protocol = (*ret)->protocol;
	if (*protocol != NULL)
		return 0;
	cw_conf_error_at(report, object, "socketServer: protocol is missing; write protocol = ... in it or start with --protocol; there are: %s", plugins);
	return CW_ECONF; /* *ret is the caller's to free, also then */
}

int cw_java_upstream(const struct cw_value *root, char *out, size_t size)
{
	struct text t = { .bytes = out, .size = size };

	if (!is_given(root, "http2Endpoint") && !is_given(root, "authEndpoint"))
		return 0;
	add_upstream(&t, root);
	return 1;
}

int cw_java_config(const char *path, const char *protocol, const char *plugins, struct cw_conf_tree **tree,
                   struct cw_conf_report *report, struct cw_msg *msg)
{
	const struct cw_value *root = cw_conf_root(*tree);
	int upstream = is_given(root, "http2Endpoint") || is_given(root, "authEndpoint");
	struct socket_server *s = NULL;
	int rc = 0;

	if (plugins != NULL && is_given(root, "socketServer"))
		rc = bind_server(cw_value_get(root, "socketServer"), *tree, &protocol, plugins, report, &s);
	if (rc == 0 && (s != NULL || upstream))
		rc = read_again(path, s, protocol, upstream, tree, msg);
	cw_conf_free(s);
	return rc;
}

/* config.c - see config.h. */
#include "factory/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "db/db.h"
#include "factory/config_field.h"
#include "factory/stock/stock.h"
#include "net/addr.h"

#define TOKEN_MOST 512u
#define TOKEN_FEW  16u /* shorter ones can be guessed */
#define LINE_LISTEN   "0.0.0.0:8000"
#define OFFICE_LISTEN "127.0.0.1:8001"

static const char *const levels[] = { "debug", "info", "note", "warn", "error", NULL };
static const char *const formats[] = { "text", "json", NULL };

/* ---- the tables ------------------------------------------------------------------------ */

/* Now, and not when the server is started at night. */
static void check_file(const char *key, const char *path, const struct cw_value *object, struct cw_conf_report *report)
{
	if (path != NULL && access(path, R_OK) < 0)
		cw_conf_error_at(report, object, "%s: cannot read %.300s: %s", key, path, strerror(errno));
}

static void check_listen(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct factory_listen *l = conf;
	struct cw_addr addr;
	struct cw_msg msg = { "" };

	if (l->listen != NULL && cw_addr_parse(l->listen, &addr, &msg) < 0)
		cw_conf_error_at(report, object, "listen: %s", msg.text);
	if ((l->tls.certificate == NULL) != (l->tls.key == NULL))
		cw_conf_error_at(report, object, "tls { } needs both certificate and key");
	if (l->tls.client_ca != NULL && l->tls.certificate == NULL)
		cw_conf_error_at(report, object, "tls.clientCa needs tls.certificate and tls.key: clients show certificates over TLS only");
	check_file("tls.certificate", l->tls.certificate, object, report);
	check_file("tls.key", l->tls.key, object, report);
	check_file("tls.clientCa", l->tls.client_ca, object, report);
}

static const struct cw_conf_setting listen_settings[] = {
	CW_CONF_MUST(struct factory_listen, listen, STRING, "listen", NULL, NULL,
	             "host:port or [v6]:port to listen on, numeric; port 0 takes any free one. [::] is IPv6 only: add 0.0.0.0 for IPv4."),
	CW_CONF(struct factory_listen, tls.certificate, FILE, "tls.certificate", NULL, NULL, NULL,
	        "Server certificate, PEM file with its chain; left out: without TLS."),
	CW_CONF(struct factory_listen, tls.key, FILE, "tls.key", NULL, NULL, NULL, "Its private key, PEM file."),
	CW_CONF(struct factory_listen, tls.client_ca, FILE, "tls.clientCa", NULL, NULL, NULL,
	        "PEM file of authorities: only clients with a certificate of one of them are served; its common name says who they are."),
	CW_CONF_END
};
const struct cw_conf_table factory_listen_table = {
	.name = "listener", .size = sizeof(struct factory_listen), .settings = listen_settings, .check = check_listen
};

/* A name that goes to logs, the page and the audit log. */
static void check_name(const char *what, const char *name, const struct cw_value *object, struct cw_conf_report *report)
{
	size_t i, n = strlen(name);

	for (i = 0; i < n && (unsigned char)name[i] > ' ' && name[i] != 0x7f; i++)
		;
	if (n == 0 || n > CW_STOCK_STATION || i < n)
		cw_conf_error_at(report, object, "%s \"%.64s\": a name is 1 to %d bytes without blanks and control characters", what, name,
		                 CW_STOCK_STATION);
}

static void check_token(const char *what, const char *name, const char *token, const struct cw_value *object, struct cw_conf_report *report)
{
	size_t i, n = token != NULL ? strlen(token) : 0;

	if (token == NULL)
		return;
	for (i = 0; i < n && isgraph((unsigned char)token[i]); i++)
		;
	if (n == 0 || n > TOKEN_MOST || i < n)
		cw_conf_error_at(report, object, "%s \"%.64s\": a token is 1 to %u letters, digits and signs of ASCII without blanks", what, name,
		                 TOKEN_MOST);
	else if (n < TOKEN_FEW)
		cw_conf_warn_at(report, object, "%s \"%.64s\": a token of fewer than %u characters can be guessed; make one with: openssl rand -hex 16",
		                what, name, TOKEN_FEW);
}

static void check_station(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct factory_station_conf *s = conf;
	struct cw_cidrs list = { NULL, 0 };
	struct cw_msg msg = { "" };

	check_name("station", s->name, object, report);
	check_token("station", s->name, s->token, object, report);
	if (s->token == NULL && s->certificate == NULL && s->addresses.count == 0)
		cw_conf_error_at(report, object, "station \"%s\": say how it is known: token, certificate or addresses", s->name);
	if (cw_cidrs_parse(s->addresses.items, s->addresses.count, &list, &msg) < 0)
		cw_conf_error_at(report, object, "station \"%s\": addresses: %s", s->name, msg.text);
	cw_cidrs_fini(&list);
}

static const struct cw_conf_setting station_settings[] = {
	CW_CONF_MUST(struct factory_station_conf, name, STRING, "name", NULL, NULL, "Name in the audit log, on the page and in logs; unique."),
	CW_CONF(struct factory_station_conf, token, SECRET, "token", NULL, NULL, NULL,
	        "It is this station who sends \"Authorization: Bearer TOKEN\". file:PATH reads it from a file."),
	CW_CONF(struct factory_station_conf, certificate, STRING, "certificate", NULL, NULL, NULL,
	        "Or whose client certificate has this common name; see tls.clientCa of the listener."),
	CW_CONF(struct factory_station_conf, addresses, STRINGS, "addresses", NULL, NULL, NULL,
	        "Or who comes from one of these addresses or networks, as in 192.168.7.0/24. Token and certificate are looked at first."),
	CW_CONF(struct factory_station_conf, products, STRINGS, "products", NULL, NULL, NULL, "ProductKeys it may ask for; none: all."),
	CW_CONF(struct factory_station_conf, quota, INT, "quota", "0", "0", "1000000000",
	        "New certificates it may have in a quotaPeriod; boards that have theirs already are always served. 0: any number."),
	CW_CONF(struct factory_station_conf, quota_ms, DURATION, "quotaPeriod", "24h", "1m", "366d",
	        "Periods of this length follow one another from 1970-01-01 on: 24h is a day of UTC, 8h a shift from midnight UTC."),
	CW_CONF_END
};
static const struct cw_conf_table station_table = {
	.name = "station", .size = sizeof(struct factory_station_conf), .settings = station_settings, .check = check_station
};

static void check_operator(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct factory_operator *o = conf;

	check_name("operator", o->name, object, report);
	check_token("operator", o->name, o->token, object, report);
}

static const struct cw_conf_setting operator_settings[] = {
	CW_CONF_MUST(struct factory_operator, name, STRING, "name", NULL, NULL, "Name in the audit log; unique."),
	CW_CONF_MUST(struct factory_operator, token, SECRET, "token", NULL, NULL,
	             "For the page's log-in, and as \"Authorization: Bearer TOKEN\" for the API. file:PATH reads it from a file."),
	CW_CONF(struct factory_operator, view_only, BOOL, "viewOnly", "false", NULL, NULL, "May look, but change nothing."),
	CW_CONF_END
};
static const struct cw_conf_table operator_table = {
	.name = "operator", .size = sizeof(struct factory_operator), .settings = operator_settings, .check = check_operator
};

static const struct cw_conf_setting factory_settings[] = {
	CW_CONF(struct factory_conf, db, SECRET, "db", "factory.db", NULL, NULL,
	        "The stock: an SQLite file (made when it is not there), seen from the working directory, or postgresql://user@host/name. Not shown, "
	        "for it may have a password in it; file:PATH reads it from a file."),
	CW_CONF(struct factory_conf, key_file, FILE, "keyFile", NULL, NULL, NULL,
	        "The key that secrets in the stock are sealed with. Left out: the SQLite file's name with .key behind it; PostgreSQL needs one."),
	CW_CONF(struct factory_conf, node, STRING, "node", NULL, NULL, NULL,
	        "Name of this server in the audit log. Left out: this host's name. Servers that share a database need one each."),
	CW_CONF(struct factory_conf, wait_ms, DURATION, "wait", "5s", "100ms", "5m",
	        "The longest wait for the database before stations are told BUSY."),
	CW_CONF_TABLES(struct factory_conf, line, LIST, "line", &factory_listen_table,
	               "Where stations ask. Left out: " LINE_LISTEN " without TLS; []: nowhere."),
	CW_CONF(struct factory_conf, stations_required, BOOL, "stationsRequired", "false", NULL, NULL,
	        "Requests of stations that are not listed are refused. false: they are served, and named by their address or certificate."),
	CW_CONF_TABLES(struct factory_conf, stations, LIST, "stations", &station_table, "The stations and what each may do."),
	CW_CONF_TABLES(struct factory_conf, office, LIST, "office", &factory_listen_table,
	               "Where page, API, metrics and health are. Left out: " OFFICE_LISTEN "; []: nowhere. Beyond this machine it takes operators or tls.clientCa."),
	CW_CONF_TABLES(struct factory_conf, operators, LIST, "operators", &operator_table,
	               "Who may use page and API. None: everybody who reaches a listener of office."),
	CW_CONF_TABLES(struct factory_conf, field, TABLE, "field", &factory_field_table, "What devices in the field ask, and gateways."),
	CW_CONF(struct factory_conf, openapi.endpoint, STRING, "openapi.endpoint", NULL, NULL, NULL,
	        "The platform's management API, https://host; left out: made from region."),
	CW_CONF(struct factory_conf, openapi.region, STRING, "openapi.region", "cn-shanghai", NULL, NULL, "Region of the platform."),
	CW_CONF(struct factory_conf, openapi.access_key, STRING, "openapi.accessKey", NULL, NULL, NULL,
	        "AccessKey ID for registering devices; left out: nothing is registered."),
	CW_CONF(struct factory_conf, openapi.access_secret, SECRET, "openapi.accessSecret", NULL, NULL, NULL,
	        "Its secret. file:PATH reads it from a file."),
	CW_CONF(struct factory_conf, openapi.instance_id, STRING, "openapi.instanceId", NULL, NULL, NULL,
	        "IotInstanceId of an enterprise instance."),
	CW_CONF(struct factory_conf, openapi.ca, FILE, "openapi.ca", NULL, NULL, NULL,
	        "PEM file of the authorities to trust; left out: the system's."),
	CW_CONF(struct factory_conf, lease_check_ms, DURATION, "leaseCheck", "1m", "100ms", "1d",
	        "How often leases of batches are looked at, and what is left in stock."),
	CW_CONF(struct factory_conf, low, INT, "low", "0", "0", "1000000000",
	        "Warn when fewer certificates of a product are free; batches may have a number of their own. 0: never; the page says anyhow when one "
	        "runs out soon at the rate of the last hour."),
	CW_CONF(struct factory_conf, stop_ms, DURATION, "stopTimeout", "5s", "100ms", "5m",
	        "At a stop, how long requests under way have to be finished."),
	CW_CONF_CHOICE(struct factory_conf, log.level, "log.level", levels, "info", "Lowest level that is logged, on standard error."),
	CW_CONF_CHOICE(struct factory_conf, log.json, "log.format", formats, "text", "Log lines as text or as JSON."),
	CW_CONF_END
};

/* Two with one name, token or certificate: nobody could tell which counts. */
static void check_twins(const struct factory_conf *c, struct cw_conf_report *report)
{
	const struct cw_conf_list *st = &c->stations;
	size_t i, k;

	for (i = 0; i < st->count; i++) {
		const struct factory_station_conf *a = cw_conf_item(st, struct factory_station_conf, i);

		for (k = 0; k < i; k++) {
			const struct factory_station_conf *b = cw_conf_item(st, struct factory_station_conf, k);

			if (strcmp(a->name, b->name) == 0)
				cw_conf_error_at(report, NULL, "stations: two are named \"%s\"", a->name);
			if (a->token != NULL && b->token != NULL && strcmp(a->token, b->token) == 0)
				cw_conf_error_at(report, NULL, "stations: \"%s\" and \"%s\" have the same token", b->name, a->name);
			if (a->certificate != NULL && b->certificate != NULL && strcmp(a->certificate, b->certificate) == 0)
				cw_conf_error_at(report, NULL, "stations: \"%s\" and \"%s\" have the same certificate", b->name, a->name);
		}
	}
	for (i = 0; i < c->operators.count; i++) {
		const struct factory_operator *a = cw_conf_item(&c->operators, struct factory_operator, i);

		for (k = 0; k < i; k++) {
			const struct factory_operator *b = cw_conf_item(&c->operators, struct factory_operator, k);

			if (strcmp(a->name, b->name) == 0 || strcmp(a->token, b->token) == 0)
				cw_conf_error_at(report, NULL, "operators: \"%s\" and \"%s\" have the same name or token", b->name, a->name);
		}
	}
}

static void check_factory(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct factory_conf *c = conf;

	(void)object;
	check_twins(c, report);
	if (c->node != NULL)
		check_name("node", c->node, object, report);
	if ((c->openapi.access_key == NULL) != (c->openapi.access_secret == NULL))
		cw_conf_error_at(report, object, "openapi: accessKey and accessSecret belong together");
}

const struct cw_conf_table cw_factory_config_table = {
	.name = "factory", .size = sizeof(struct factory_conf), .settings = factory_settings, .check = check_factory
};

/* ---- what holds for all of it ------------------------------------------------------------ */

int cw_factory_is_loopback(const char *listen)
{
	struct cw_addr addr;
	static const uint8_t v6[16] = { [15] = 1 };

	if (cw_addr_parse(listen, &addr, NULL) < 0)
		return 0;
	return addr.family == 4 ? addr.ip[0] == 127 : memcmp(addr.ip, v6, 16) == 0;
}

/* Do clients of one of these listeners have certificates of this file's authorities? */
static int has_authority(const struct cw_conf_list *listeners, const char *client_ca)
{
	size_t i;

	for (i = 0; client_ca != NULL && i < listeners->count; i++) {
		const struct factory_listen *l = cw_conf_item(listeners, struct factory_listen, i);

		if (l->tls.client_ca != NULL && strcmp(l->tls.client_ca, client_ca) == 0)
			return 1;
	}
	return 0;
}

static int check_office(const struct factory_conf *c, struct cw_msg *msg)
{
	size_t i;

	for (i = 0; i < c->office.count; i++) {
		const struct factory_listen *l = cw_conf_item(&c->office, struct factory_listen, i);

		if (c->operators.count == 0 && l->tls.client_ca == NULL && !cw_factory_is_loopback(l->listen))
			return cw_fail(msg, CW_ECONF,
			               "office listener %s: everybody who reaches it could void certificates. Add operators = [ { name, token } ], or "
			               "tls.clientCa, or listen on 127.0.0.1", l->listen);
		if (c->operators.count == 0 && (has_authority(&c->line, l->tls.client_ca) || has_authority(&c->field.listeners, l->tls.client_ca)))
			cw_log(conf_warning, "without operators every certificate of tls.clientCa may do everything here, and the same authority's stations or devices "
			                     "have one each; name operators by their certificates, or take another authority",
			       CW_LS("office", l->listen));
		if (l->tls.certificate == NULL && !cw_factory_is_loopback(l->listen))
			cw_log(conf_warning, "operators' tokens cross the network without TLS; add tls { certificate, key }", CW_LS("office", l->listen));
	}
	return 0;
}

int cw_factory_config_may_follow(const struct factory_conf *started, const struct factory_conf *next, struct cw_msg *msg)
{
	struct factory_conf c = *next;

	c.office = started->office;
	return check_office(&c, msg);
}

static int check_places(const struct factory_conf *c, struct cw_msg *msg)
{
	if (c->db[0] == '\0')
		return cw_fail(msg, CW_ECONF, "db is empty; name an SQLite file, or postgresql://user@host/name");
	if (cw_db_is_server(c->db) && c->key_file == NULL)
		return cw_fail(msg, CW_ECONF, "keyFile is missing: with PostgreSQL say which file has the key that secrets are sealed with (--key FILE)");
	if (c->line.count + c->office.count + c->field.listeners.count == 0)
		return cw_fail(msg, CW_ECONF, "there is nothing to listen on; give one of line, office and field.listeners something to listen on");
	return 0;
}

/* `[]` is a list of none; what is not there has its default. */
static void fill_listeners(struct factory_conf *c, const struct cw_value *root)
{
	static struct factory_listen line = { .listen = LINE_LISTEN }, office = { .listen = OFFICE_LISTEN };

	if (root == NULL || cw_value_get(root, "line") == NULL)
		c->line = (struct cw_conf_list){ &line, 1, sizeof(line) };
	if (root == NULL || cw_value_get(root, "office") == NULL)
		c->office = (struct cw_conf_list){ &office, 1, sizeof(office) };
}

static void override(struct factory_conf *c, const struct factory_overrides *over)
{
	if (over->db != NULL)
		c->db = over->db;
	if (over->key_file != NULL)
		c->key_file = over->key_file;
	if (over->line != NULL)
		c->line = (struct cw_conf_list){ over->line, over->line_count, sizeof(*over->line) };
	if (over->office != NULL)
		c->office = (struct cw_conf_list){ over->office, over->office_count, sizeof(*over->office) };
}

static int read_conf(const char *path, const struct factory_overrides *over, struct factory_conf **ret_conf, struct cw_msg *msg)
{
	struct cw_conf_report report = { .kept = 0 };
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *root = NULL;
	void *conf = NULL;
	size_t i;
	int rc = path != NULL ? cw_conf_parse_file(path, NULL, &tree, msg) : 0;

	if (rc < 0)
		return rc;
	if (tree != NULL)
		root = cw_conf_root(tree);
	rc = cw_conf_bind(&cw_factory_config_table, tree, root, &report, &conf);
	if (rc < 0) {
		cw_conf_report_msg(&report, msg);
	} else {
		fill_listeners(conf, root);
		override(conf, over);
		*ret_conf = conf;
	}
	for (i = 0; rc == 0 && i < report.kept; i++)
		cw_log(conf_warning, report.items[i].text);
	cw_conf_report_fini(&report);
	cw_conf_tree_unref(tree);
	return rc;
}

int cw_factory_config_load(const char *path, const struct factory_overrides *over, struct factory_conf **ret_conf, struct cw_msg *msg)
{
	struct factory_conf *c = NULL;
	int rc = read_conf(path, over, &c, msg);

	if (rc < 0)
		return rc;
	rc = check_places(c, msg);
	if (rc == 0)
		rc = check_office(c, msg);
	if (rc < 0) {
		if (path != NULL)
			cw_msg_wrap(msg, "%s", path);
		cw_factory_config_free(c);
		return rc;
	}
	*ret_conf = c;
	return 0;
}

/* The bound texts are in memory of our own, whatever their type says. */
static void wipe(const char *secret)
{
	if (secret != NULL)
		explicit_bzero((char *)(uintptr_t)secret, strlen(secret));
}

void cw_factory_config_free(struct factory_conf *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->stations.count; i++)
		wipe(cw_conf_item(&c->stations, struct factory_station_conf, i)->token);
	for (i = 0; i < c->operators.count; i++)
		wipe(cw_conf_item(&c->operators, struct factory_operator, i)->token);
	for (i = 0; i < c->field.tokens.count; i++)
		wipe(cw_conf_item(&c->field.tokens, struct factory_field_token, i)->token);
	wipe(c->field.shared_key);
	wipe(c->field.gateway_token);
	wipe(c->openapi.access_secret);
	cw_conf_free(c);
}

/* ---- reload --------------------------------------------------------------------------------- */

static int same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int same_listeners(const struct cw_conf_list *a, const struct cw_conf_list *b)
{
	size_t i;

	for (i = 0; i < a->count && a->count == b->count; i++)
		if (!cw_conf_same(&factory_listen_table, cw_conf_item(a, struct factory_listen, i), cw_conf_item(b, struct factory_listen, i)))
			return 0;
	return a->count == b->count;
}

static void name_setting(char *out, size_t size, const char *name)
{
	size_t len = strlen(out);

	(void)snprintf(out + len, size - len, "%s%s", len != 0 ? ", " : "", name);
}

void cw_factory_config_restart(const struct factory_conf *a, const struct factory_conf *b, char *out, size_t size)
{
	out[0] = '\0';
	if (!same_text(a->db, b->db))
		name_setting(out, size, "db");
	if (!same_text(a->key_file, b->key_file))
		name_setting(out, size, "keyFile");
	if (!same_text(a->node, b->node))
		name_setting(out, size, "node");
	if (a->wait_ms != b->wait_ms)
		name_setting(out, size, "wait");
	if (!same_listeners(&a->line, &b->line))
		name_setting(out, size, "line");
	if (!same_listeners(&a->office, &b->office))
		name_setting(out, size, "office");
	if (!same_listeners(&a->field.listeners, &b->field.listeners))
		name_setting(out, size, "field.listeners");
}

/* rules.c - see rules.h. */
#include "provision/rules.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "platform/names.h"
#include "provision/keep.h"

#define JOBS_MOST 4096u    /* identities that wait at once; more are told to come again */
#define ASKING_MOST 16u    /* of them asked for at once */
#define REFUSED_MOST 20000u
#define TABLE_SEEN_MS 150000u /* by then no answer that was kept says that the table does not have it */

/* One identity on its way through the steps of rules.h. */
struct job {
	struct cw_list link;
	struct cw_rules *rules;
	const struct cw_rule *rule;
	uint64_t token;
	char device_name[64];
	char path[1200]; /* of the mark */
	struct cw_registration registration;
	struct cw_openapi_find find;
	struct cw_enroll enroll;
	char endpoint[300];
	uv_work_t work;
	struct cw_keep mark; /* to be written, or as it was found */
	struct cw_msg msg;
	struct cw_certificate got;
	int rc;         /* of the step */
	int has_mark;
	int asking;     /* counts in rules->asking */
	int calling;    /* a registration that has not told its result */
	int waits_gone; /* a registration that is not over yet */
	int ended;      /* answered; goes when the registration has gone */
	struct cw_identity *id;
	char identity[];
};

/*
 * What is remembered of an identity until then: that it was refused, or (id) what it is, for the time that it takes
 * everybody to see it in the table: asking again would be the worst answer.
 */
struct refused {
	struct cw_map_node node;
	uint64_t until_ms, wait_ms;
	struct cw_identity *id;
	char identity[];
};

struct cw_rules {
	struct cw_resolver *resolver;
	struct cw_rules_conf conf;
	struct cw_list waiting, running;
	size_t jobs, asking;
	struct cw_map refused;
	int stopping, dead;
	void (*gone)(void *arg);
	void *gone_arg;
};

static void go_on(struct cw_rules *r);

/* ---- refusals ----------------------------------------------------------------------------- */

static struct refused *find_refused(struct cw_rules *r, const char *identity)
{
	struct cw_map_node *n = cw_map_find(&r->refused, identity, strlen(identity));

	return n == NULL ? NULL : cw_container_of(n, struct refused, node);
}

static void forget_refused(struct cw_rules *r, struct refused *f)
{
	cw_map_remove(&r->refused, &f->node);
	cw_identity_free(f->id);
	cw_free(f);
}

/* The entry of an identity, made if need be; NULL without memory. */
static struct refused *remember(struct cw_rules *r, const char *identity)
{
	struct refused *f = find_refused(r, identity);
	size_t len = strlen(identity);

	if (f != NULL)
		return f;
	if (r->refused.count >= REFUSED_MOST) { /* one of them makes room */
		struct cw_map_node *n = cw_map_next(&r->refused, NULL);

		forget_refused(r, cw_container_of(n, struct refused, node));
	}
	f = cw_zalloc(sizeof(*f) + len + 1);
	if (f == NULL)
		return NULL;
	memcpy(f->identity, identity, len + 1);
	if (cw_map_add(&r->refused, &f->node, f->identity, len) == 0)
		return f;
	cw_free(f);
	return NULL;
}

static void note_refused(struct cw_rules *r, const char *identity, uint64_t at_least_ms)
{
	struct refused *f = remember(r, identity);

	if (f == NULL)
		return;
	f->wait_ms = f->wait_ms == 0 ? r->conf.retry_min_ms : f->wait_ms * 2;
	if (f->wait_ms < at_least_ms)
		f->wait_ms = at_least_ms;
	if (f->wait_ms > r->conf.retry_max_ms)
		f->wait_ms = r->conf.retry_max_ms;
	f->until_ms = cw_worker_now(r->conf.control) + f->wait_ms;
}

static void note_known(struct cw_rules *r, const char *identity, const struct cw_identity *id)
{
	struct refused *f = remember(r, identity);

	if (f == NULL)
		return;
	cw_identity_free(f->id);
	f->id = cw_identity_new(id->identity, id->product_key, id->device_name, id->device_secret, cw_bytes_of(NULL, 0));
	f->wait_ms = 0;
	f->until_ms = cw_worker_now(r->conf.control) + TABLE_SEEN_MS;
}

/* ---- the end of a job ------------------------------------------------------------------------ */

static void free_rules_when_idle(struct cw_rules *r)
{
	if (r->dead && r->jobs == 0) {
		cw_map_fini(&r->refused);
		cw_free(r);
	}
}

/* A stop waits for what refers to loop, pool or table; what an upstream still owes is not among that. */
static void tell_gone(struct cw_rules *r)
{
	void (*gone)(void *) = r->gone;
	struct cw_list *e;

	if (!r->stopping || gone == NULL)
		return;
	for (e = r->running.next; e != &r->running; e = e->next)
		if (cw_container_of(e, struct job, link)->rule->by != CW_RULE_GATEWAY ||
		    cw_container_of(e, struct job, link)->enroll.u == NULL)
			return;
	r->gone = NULL;
	gone(r->gone_arg);
}

static void free_job(struct job *j)
{
	struct cw_rules *r = j->rules;

	cw_list_remove(&j->link);
	r->jobs--;
	r->asking -= (size_t)j->asking;
	cw_identity_free(j->id);
	explicit_bzero(&j->got, sizeof(j->got));
	explicit_bzero(&j->enroll, sizeof(j->enroll));
	cw_free(j);
	if (r->dead)
		free_rules_when_idle(r);
	else if (r->stopping)
		tell_gone(r);
	else
		go_on(r);
}

static void answer(struct job *j, int rc)
{
	j->ended = 1;
	if (!j->rules->dead)
		cw_resolver_answer(j->rules->resolver, j->token, rc, rc == 0 ? j->id : NULL);
	if (!j->waits_gone)
		free_job(j);
}

/* ---- files, in libuv's pool ------------------------------------------------------------------- */

static void in_pool(struct job *j, uv_work_cb work, uv_after_work_cb after)
{
	if (uv_queue_work(cw_worker_loop(j->rules->conf.control), &j->work, work, after) == 0)
		return;
	work(&j->work); /* only without a pool at all */
	after(&j->work, 0);
}

static struct job *job_of(uv_work_t *w)
{
	return cw_container_of(w, struct job, work);
}

static void remove_mark(uv_work_t *w)
{
	struct job *j = job_of(w);

	j->rc = cw_keep_remove(j->path, &j->msg);
}

/* ---- the ends -------------------------------------------------------------------------------- */

static void on_mark_gone(uv_work_t *w, int status)
{
	struct job *j = job_of(w);

	(void)status;
	answer(j, j->got.product_key[0] != '\0' ? 0 : j->enroll.rc);
}

/* Nothing was given away: the mark goes, and then the answer. */
static void end_without(struct job *j, int rc)
{
	j->got.product_key[0] = '\0';
	j->enroll.rc = rc;
	if (j->has_mark)
		in_pool(j, remove_mark, on_mark_gone);
	else
		answer(j, rc);
}

static void refuse(struct job *j, const char *text)
{
	cw_count(provision, refused);
	note_refused(j->rules, j->identity, 0);
	cw_log(provision_refused, text, CW_LS("identity", j->identity), CW_LS("productKey", j->rule->product_key),
	       CW_LS("deviceName", j->device_name));
	end_without(j, CW_ENOENT);
}

static void later(struct job *j, int rc, const char *text)
{
	cw_count(provision, unreached);
	note_refused(j->rules, j->identity, 0);
	cw_log(provision_waiting, text, CW_LS("identity", j->identity), CW_LS("productKey", j->rule->product_key),
	       CW_LS("deviceName", j->device_name));
	end_without(j, rc == CW_EBUSY || rc == CW_EACCESS ? CW_EUNREACH : rc);
}

/* It may have been given out and is nowhere: the mark stays, and only the operator ends that. */
static void lose(struct job *j, const char *text)
{
	char more[700];

	cw_count(provision, lost);
	note_refused(j->rules, j->identity, j->rules->conf.retry_max_ms);
	(void)snprintf(more, sizeof(more),
		       "%.300s; the secret may have been given out, which happens once only. Look at the device in the console: if it was never active, "
		       "delete %.200s; else reset it, or delete it and add it anew, then the same",
		       text, j->path);
	cw_log(provision_lost, more, CW_LS("identity", j->identity), CW_LS("productKey", j->rule->product_key),
	       CW_LS("deviceName", j->device_name));
	answer(j, CW_ENOENT);
}

static void on_put(void *arg, int rc, const char *text)
{
	struct job *j = arg;

	if (rc == 0)
		cw_crash_point("rules.stored");
	if (rc < 0) {
		if (j->has_mark)
			lose(j, text);
		else
			later(j, rc, text);
		return;
	}
	note_known(j->rules, j->identity, j->id);
	cw_count(provision, obtained);
	cw_log(provision_obtained, "", CW_LS("identity", j->identity), CW_LS("productKey", j->got.product_key),
	       CW_LS("deviceName", j->got.device_name));
	if (j->has_mark)
		in_pool(j, remove_mark, on_mark_gone);
	else
		answer(j, 0);
}

/* Stored before anybody hears of it. */
static void store(struct job *j)
{
	cw_crash_point("rules.answered");
	j->id = cw_identity_new(j->identity, j->got.product_key, j->got.device_name, j->got.device_secret, cw_bytes_of(NULL, 0));
	if (j->id == NULL)
		lose(j, "out of memory");
	else
		j->rules->conf.put(j->rules->conf.ctx, j->id, on_put, j);
}

/* ---- asking --------------------------------------------------------------------------------------- */

static void conclude(struct job *j, int rc, const char *text)
{
	if (rc == 0)
		store(j);
	else if (rc == CW_EREFUSED || rc == CW_EUNSUPPORTED || rc == CW_ECONF)
		refuse(j, text);
	else if (cw_register_gave_nothing(rc) || !j->has_mark)
		later(j, rc, text);
	else
		lose(j, text);
}

static void on_registered(struct cw_registration *reg, int rc, int code, const struct cw_certificate *got, const char *text)
{
	struct job *j = reg->ctx;

	(void)code;
	j->calling = 0;
	if (rc == 0)
		j->got = *got;
	conclude(j, rc, text);
}

static void on_registration_gone(struct cw_registration *reg)
{
	struct job *j = reg->ctx;

	j->waits_gone = 0;
	if (j->ended)
		free_job(j);
}

static void on_found(struct cw_openapi_find *f, int rc, int created, const char *code, const struct cw_certificate *got, const char *text)
{
	struct job *j = f->ctx;

	(void)created;
	(void)code;
	if (rc == 0)
		j->got = *got;
	conclude(j, rc, text);
}

static void on_enrolled(struct cw_enroll *e)
{
	struct job *j = cw_container_of(e, struct job, enroll);
	char text[400];
	int rc = e->rc;

	e->u = NULL;
	if (rc == 0 && j->rules->stopping) /* the table may be closed; it can be had again */
		rc = CW_ECLOSED;
	if (rc == 0) {
		(void)snprintf(j->got.product_key, sizeof(j->got.product_key), "%s", j->rule->product_key);
		(void)snprintf(j->got.device_name, sizeof(j->got.device_name), "%s", j->device_name);
		(void)snprintf(j->got.device_secret, sizeof(j->got.device_secret), "%s", e->secret);
		conclude(j, 0, "");
		return;
	}
	if (rc == CW_EUNSUPPORTED)
		(void)snprintf(text, sizeof(text), "this upstream cannot register devices for others; say by = https, mqtt or openapi in the rule");
	else if (rc == CW_EREFUSED)
		(void)snprintf(text, sizeof(text),
			       "the platform refused the registration (code %d): %.160s; the device must be added to the product and its dynamic registration be "
			       "switched on",
			       (int)e->code, e->text);
	else
		(void)snprintf(text, sizeof(text), "%.200s", e->text[0] != '\0' ? e->text : cw_error_text(rc));
	/* The platform issues a sub-device's secret anew when its gateway asks again, so a lost answer costs nothing. */
	conclude(j, rc == CW_EREFUSED || rc == CW_EUNSUPPORTED ? rc : CW_EUNREACH, text);
}

static int ask_registration(struct job *j)
{
	const struct cw_rules_conf *c = &j->rules->conf;
	int rc;

	j->registration = (struct cw_registration){
		.product_key = j->rule->product_key, .device_name = j->device_name, .product_secret = j->rule->product_secret,
		.via = j->rule->by == CW_RULE_MQTT ? CW_REGISTER_MQTT : CW_REGISTER_HTTPS, .endpoint = j->rule->endpoint, .tls = c->tls,
		.done = on_registered, .gone = on_registration_gone, .ctx = j,
	};
	if (j->registration.endpoint == NULL) {
		cw_register_endpoint(j->registration.via, j->rule->product_key,
				     j->rule->region != NULL ? j->rule->region : c->region != NULL ? c->region : "cn-shanghai", j->endpoint,
				     sizeof(j->endpoint));
		j->registration.endpoint = j->endpoint;
	}
	rc = cw_register(c->control, c->pool, &j->registration, &j->msg);
	j->calling = j->waits_gone = rc == 0;
	return rc;
}

static void ask_platform(struct job *j)
{
	const struct cw_rules_conf *c = &j->rules->conf;
	struct cw_upstream *u;
	int rc = 0;

	cw_count(provision, asked);
	if (j->rule->by == CW_RULE_OPENAPI) {
		j->find = (struct cw_openapi_find){ .account = c->account, .product_key = j->rule->product_key, .device_name = j->device_name,
						    .done = on_found, .ctx = j };
		rc = cw_openapi_find(c->control, c->pool, &j->find, &j->msg);
	} else if (j->rule->by != CW_RULE_GATEWAY) {
		rc = ask_registration(j);
	} else {
		u = c->enroller(c->ctx, j->rule->upstream, &j->msg);
		if (u == NULL) {
			conclude(j, CW_EUNREACH, j->msg.text);
			return;
		}
		j->enroll = (struct cw_enroll){ .product_key = j->rule->product_key, .device_name = j->device_name,
						.product_secret = j->rule->product_secret, .done = on_enrolled };
		j->enroll.u = u;
		cw_upstream_enroll(u, &j->enroll);
	}
	if (rc < 0)
		conclude(j, rc == CW_ENOMEM ? CW_EUNREACH : rc, j->msg.text);
}

/* In the pool: is there a mark of an earlier run? Else make one. */
static void mark(uv_work_t *w)
{
	struct job *j = job_of(w);
	struct cw_keep old;

	j->rc = cw_keep_read(j->path, &old, &j->msg);
	if (j->rc == 0 && old.state != CW_KEEP_NONE)
		j->rc = CW_EEXIST;
	else if (j->rc == 0)
		j->rc = cw_keep_write(j->path, &j->mark, &j->msg);
	explicit_bzero(&old, sizeof(old));
	if (j->rc == 0)
		cw_crash_point("rules.asked");
}

static void on_marked(uv_work_t *w, int status)
{
	struct job *j = job_of(w);

	(void)status;
	j->has_mark = j->rc == 0;
	if (j->rc == 0 && j->rules->stopping)
		end_without(j, CW_ECLOSED);
	else if (j->rc == 0)
		ask_platform(j);
	else if (j->rc == CW_EEXIST)
		lose(j, "it was asked for in an earlier run and never stored");
	else
		later(j, j->rc, j->msg.text);
}

static void run(struct job *j)
{
	j->asking = 1;
	j->rules->asking++;
	if (j->rule->by == CW_RULE_OPENAPI || j->rule->by == CW_RULE_GATEWAY) { /* can be asked for again without harm */
		ask_platform(j);
		return;
	}
	j->mark = (struct cw_keep){ .state = CW_KEEP_ASKED, .at_ms = cw_clock_wall_ms() };
	(void)snprintf(j->mark.by, sizeof(j->mark.by), "rules");
	(void)snprintf(j->mark.certificate.product_key, sizeof(j->mark.certificate.product_key), "%s", j->rule->product_key);
	(void)snprintf(j->mark.certificate.device_name, sizeof(j->mark.certificate.device_name), "%s", j->device_name);
	in_pool(j, mark, on_marked);
}

static void go_on(struct cw_rules *r)
{
	struct cw_list *e;

	while (!r->stopping && r->asking < ASKING_MOST && (e = cw_list_first(&r->waiting)) != NULL) {
		cw_list_remove(e);
		cw_list_push_back(&r->running, e);
		run(cw_container_of(e, struct job, link));
	}
}

/* ---- the question ------------------------------------------------------------------------------------ */

static int put_text(char *out, size_t size, size_t *at, const char *text, size_t len)
{
	if (len >= size - *at)
		return -1;
	memcpy(out + *at, text, len);
	*at += len;
	out[*at] = '\0';
	return 0;
}

int cw_rule_name(const char *name_template, const struct cw_claim *claim, char ret_name[64], struct cw_msg *msg)
{
	const struct {
		const char *word, *text;
		size_t len;
	} words[] = {
		{ "${identity}", claim->identity, claim->identity_len },
		{ "${imei}", claim->imei, claim->imei == NULL ? 0 : strlen(claim->imei) },
		{ "${mac}", claim->mac, claim->mac == NULL ? 0 : strlen(claim->mac) },
	};
	size_t at = 0, i, n;
	const char *t = name_template;

	ret_name[0] = '\0';
	while (*t != '\0') {
		for (i = 0; i < 3 && strncmp(t, words[i].word, strlen(words[i].word)) != 0; i++)
			;
		if (i < 3 && words[i].text == NULL)
			return cw_fail(msg, CW_EINVAL, "the template has %s, which this device did not say", words[i].word);
		n = i < 3 ? strlen(words[i].word) : 1;
		if (put_text(ret_name, 64, &at, i < 3 ? words[i].text : t, i < 3 ? words[i].len : 1) < 0)
			return cw_fail(msg, CW_EINVAL, "the DeviceName would have more than 32 characters");
		t += n;
	}
	if (strlen(ret_name) != at)
		return cw_fail(msg, CW_EINVAL, "the identity has bytes that no name has");
	return cw_check_device_name(ret_name, msg);
}

static const struct cw_rule *match(const struct cw_rules *r, const char *identity)
{
	size_t i;

	for (i = 0; i < r->conf.count; i++)
		if (fnmatch(r->conf.items[i].identity, identity, 0) == 0)
			return &r->conf.items[i];
	return NULL;
}

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	struct cw_rules *r = source;
	struct job *j = r->jobs >= JOBS_MOST ? NULL : cw_zalloc(sizeof(*j) + claim->identity_len + 1);
	struct cw_msg msg = { "" };
	struct refused *f;

	if (j == NULL || r->stopping) {
		cw_free(j);
		cw_resolver_answer(r->resolver, token, r->stopping ? CW_ECLOSED : CW_EBUSY, NULL);
		return;
	}
	memcpy(j->identity, claim->identity, claim->identity_len);
	j->rules = r;
	j->token = token;
	j->rule = match(r, j->identity);
	f = j->rule == NULL ? NULL : find_refused(r, j->identity);
	if (j->rule == NULL || (f != NULL && cw_worker_now(r->conf.control) < f->until_ms)) {
		cw_free(j);
		cw_resolver_answer(r->resolver, token, f != NULL && f->id != NULL ? CW_OK : CW_ENOENT, f == NULL ? NULL : f->id);
		return;
	}
	if (cw_rule_name(j->rule->device_name, claim, j->device_name, &msg) < 0) {
		cw_count(provision, names_refused);
		cw_log(provision_name, msg.text, CW_LS("identity", j->identity), CW_LS("template", j->rule->device_name));
		cw_free(j);
		cw_resolver_answer(r->resolver, token, CW_ENOENT, NULL);
		return;
	}
	(void)snprintf(j->path, sizeof(j->path), "%s/asked-%s-%s.json", r->conf.state_dir, j->rule->product_key, j->device_name);
	r->jobs++;
	cw_list_push_back(&r->waiting, &j->link);
	go_on(r);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

int cw_rules_new(struct cw_resolver *resolver, const struct cw_rules_conf *conf, struct cw_rules **ret_rules)
{
	struct cw_rules *r = cw_zalloc(sizeof(*r));

	if (r == NULL)
		return CW_ENOMEM;
	r->resolver = resolver;
	r->conf = *conf;
	cw_list_init(&r->waiting);
	cw_list_init(&r->running);
	cw_map_init(&r->refused);
	*ret_rules = r;
	return 0;
}

void cw_rules_stop(struct cw_rules *r, void (*gone)(void *arg), void *arg)
{
	struct cw_list *e, *next;

	r->stopping = 1;
	while ((e = cw_list_first(&r->waiting)) != NULL)
		answer(cw_container_of(e, struct job, link), CW_ECLOSED);
	for (e = r->running.next; e != &r->running; e = next) {
		struct job *j = cw_container_of(e, struct job, link);

		next = e->next;
		if (j->find.priv != NULL) {
			cw_openapi_cancel(&j->find);
			answer(j, CW_ECLOSED);
		} else if (j->calling) {
			j->calling = 0;
			if (cw_register_cancel(&j->registration))
				end_without(j, CW_ECLOSED);
			else
				answer(j, CW_ECLOSED); /* the mark stays: it may have been given out */
		}
	}
	r->gone = gone;
	r->gone_arg = arg;
	tell_gone(r);
}

void cw_rules_forget(struct cw_rules *r)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &r->refused)
		if (cw_container_of(n, struct refused, node)->id == NULL || r->dead)
			forget_refused(r, cw_container_of(n, struct refused, node));
}

static void free_source(void *source)
{
	struct cw_rules *r = source;

	r->dead = 1;
	cw_rules_forget(r);
	free_rules_when_idle(r);
}

const struct cw_source_ops cw_rules_source_ops = { .name = "rules", .ask = ask, .free = free_source };

/* ---- settings --------------------------------------------------------------------------------------------- */

static const char *const bys[] = { "gateway", "https", "mqtt", "openapi", NULL };

static const struct cw_conf_setting rule_settings[] = {
	CW_CONF_MUST(struct cw_rule, identity, STRING, "identity", NULL, NULL, "Pattern with * and ? for the originalIdentity; the first rule that fits counts."),
	CW_CONF_MUST(struct cw_rule, product_key, STRING, "productKey", NULL, NULL, "Product of these devices."),
	CW_CONF(struct cw_rule, product_secret, SECRET, "productSecret", NULL, NULL, NULL,
		"Its secret; needed by https and mqtt. With by = gateway it may take a device over from another gateway."),
	CW_CONF(struct cw_rule, device_name, STRING, "deviceName", "${identity}", NULL, NULL,
		"Template in quotes: ${identity}, ${imei} and ${mac} as the device says them; 4 to 32 letters, digits and - _ @ . : must come out."),
	CW_CONF_CHOICE(struct cw_rule, by, "by", bys, "gateway",
		       "Who is asked: gateway over the bridge's own connection (type mqtt; sub-devices), https or mqtt by dynamic registration (devices that "
		       "connect for themselves), openapi by the account of popClientProfile, which also creates them."),
	CW_CONF(struct cw_rule, endpoint, STRING, "endpoint", NULL, NULL, NULL,
		"Of https and mqtt: https://host[:port] or ssl://host:port; default: made from region. TLS only."),
	CW_CONF(struct cw_rule, region, STRING, "region", NULL, NULL, NULL, "Region of the public instance; default: the first upstream's, else cn-shanghai."),
	CW_CONF(struct cw_rule, upstream, STRING, "upstream", NULL, NULL, NULL, "Of gateway: which upstream asks; default: the first of type mqtt."),
	CW_CONF_END
};
const struct cw_conf_table cw_rule_table = { .name = "rule", .size = sizeof(struct cw_rule), .settings = rule_settings };

int cw_rule_check(const struct cw_rule *rule, int has_account, struct cw_msg *msg)
{
	struct cw_registration r = { .via = rule->by == CW_RULE_MQTT ? CW_REGISTER_MQTT : CW_REGISTER_HTTPS, .endpoint = rule->endpoint };
	int odd, rc = cw_check_product_key(rule->product_key, msg);
	const char *t;

	if (rc == 0 && strstr(rule->device_name, "${") == NULL)
		rc = cw_fail(msg, CW_ECONF, "deviceName is \"%.64s\" for every device; put ${identity}, ${imei} or ${mac} in it, within quotes", rule->device_name);
	for (t = rule->device_name; rc == 0 && (t = strstr(t, "${")) != NULL; t += 2)
		if (strncmp(t, "${identity}", 11) != 0 && strncmp(t, "${imei}", 7) != 0 && strncmp(t, "${mac}", 6) != 0)
			rc = cw_fail(msg, CW_ECONF, "deviceName: '%.*s' is not known here; there are ${identity}, ${imei} and ${mac}",
				     (int)(strchr(t, '}') == NULL || strchr(t, '}') - t > 40 ? 2 : strchr(t, '}') + 1 - t), t);
	if (rc == 0 && rule->by == CW_RULE_OPENAPI && !has_account)
		rc = cw_fail(msg, CW_ECONF, "by = openapi needs the account of popClientProfile { accessKey, accessSecret, region, endpoint, .. }");
	if (rc == 0 && (rule->by == CW_RULE_HTTPS || rule->by == CW_RULE_MQTT)) {
		if (rule->product_secret == NULL)
			rc = cw_fail(msg, CW_ECONF, "by = https and by = mqtt need the productSecret");
		else
			rc = cw_check_product_secret(rule->product_secret, &odd, msg);
		if (rc == 0 && rule->endpoint != NULL)
			rc = cw_register_check(&r, msg);
	}
	return rc < 0 ? CW_ECONF : 0;
}

/* cmd_audit.c - `causeway factory audit`: who did what to the stock, and whether anybody has edited it since. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"

#define SHOWN      1000
#define HEADS_MOST (1u << 20) /* bytes of a file of heads */

static const char usage[] =
	"usage: causeway factory audit [FILTERS] [--newest] [--limit N] [--json]\n"
	"       causeway factory audit --head\n"
	"       causeway factory audit --verify [--against FILE] [--json]\n"
	"\n"
	"  --what KIND --who NAME --node NAME --product PRODUCTKEY --device-name NAME --device-id ID --since TIME --until TIME\n"
	"                    all that is given must fit; KIND is one of\n"
	"                    allocate again write import void reclaim batch product export device handout order\n"
	"  --newest          the last one first\n"
	"  --limit N         1,000 by default; 0: all\n"
	"  --head            the last entry of each chain, as lines to be kept elsewhere: on paper, on another machine\n"
	"  --verify          whether every entry is as it was written and none is missing, and whether the certificates are as the\n"
	"                    entries say; --against FILE: and whether what --head said once is still there, which finds a database that\n"
	"                    was replaced by an older copy of itself. Exit status 1 when something does not fit. Needs the key file\n";

struct verb {
	struct factory_tool t;
	struct cw_audit_filter filter;
	int64_t limit;
	int head, verify;
	const char *against;
	struct factory_table tb;
	size_t rows;
	int more;
};

static int known_kind(const char *what)
{
	static const char *const kinds[] = {
#define KIND(sym, name, text) name,
		CW_AUDIT_KINDS(KIND)
#undef KIND
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i], what) == 0)
			return 1;
	return 0;
}

/* ---- entries ---------------------------------------------------------------------------- */

static int on_entry(void *arg, const struct cw_audit_entry *e)
{
	struct verb *v = arg;
	struct cw_json j;
	char text[24];

	if (v->limit > 0 && v->rows == (size_t)v->limit) {
		v->more = 1;
		return 1;
	}
	v->rows++;
	if (v->t.as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_audit(&j, e);
		return factory_list_item(&v->t, &j);
	}
	factory_cell(&v->tb, "%s", factory_time(e->at, text));
	factory_cell(&v->tb, "%s", e->node);
	factory_cell(&v->tb, "%lld", (long long)e->number);
	factory_cell(&v->tb, "%s", e->what);
	factory_cell(&v->tb, "%s", e->who);
	factory_cell(&v->tb, "%s", e->address);
	factory_cell(&v->tb, "%s", e->product_key);
	factory_cell(&v->tb, "%s", e->device_name);
	factory_cell(&v->tb, "%s", e->device_id);
	factory_cell(&v->tb, "%s", e->text);
	return 0;
}

static int list(struct verb *v)
{
	struct cw_msg msg = { "" };
	int rc;

	v->filter.most = v->limit == 0 ? 0 : (size_t)v->limit + 1;
	if (v->t.as_json)
		factory_list_begin(&v->t);
	else
		factory_table_begin(&v->tb, "AT (UTC)|NODE|>NUMBER|WHAT|WHO|ADDRESS|PRODUCT|DEVICENAME|DEVICEID|TEXT");
	rc = cw_audit_each(v->t.stock, &v->filter, on_entry, v, &msg);
	if (v->t.as_json)
		factory_list_end(&v->t);
	else
		factory_table_end(&v->tb);
	if (v->more)
		fprintf(stderr, "there are more: --limit 0\n");
	return rc < 0 ? factory_complain(&v->t, "%s", msg.text) : 0;
}

/* ---- heads and the test -------------------------------------------------------------------- */

static void on_head(void *arg, const char *line)
{
	puts(line);
}

static int heads(struct verb *v)
{
	struct cw_msg msg = { "" };

	return cw_audit_heads(v->t.stock, on_head, v, &msg) < 0 ? factory_complain(&v->t, "%s", msg.text) : 0;
}

static void on_problem(void *arg, const struct cw_audit_problem *p)
{
	struct verb *v = arg;
	struct cw_json j;

	if (v->t.as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_problem(&j, p);
		(void)factory_list_item(&v->t, &j);
	} else if (p->number > 0) {
		printf("%s %lld: %s\n", p->node, (long long)p->number, p->sentence);
	} else {
		printf("%s%s%s\n", p->node, p->node[0] == '\0' ? "" : ": ", p->sentence);
	}
}

static int verify(struct verb *v)
{
	struct cw_msg msg = { "" };
	uint64_t entries = 0, problems = 0;
	char *text = NULL;
	size_t len;
	int rc;

	if (v->against != NULL && cw_file_read(v->against, HEADS_MOST, &text, &len, &msg) < 0)
		return factory_complain(&v->t, "--against: %s", msg.text);
	if (v->t.as_json)
		factory_list_begin(&v->t);
	rc = cw_audit_verify(v->t.stock, text, on_problem, v, &entries, &problems, &msg);
	if (v->t.as_json)
		factory_list_end(&v->t);
	cw_free(text);
	if (rc < 0)
		return factory_complain(&v->t, "%s", msg.text);
	if (problems > 0)
		return factory_complain(&v->t, "%llu things do not fit in %llu entries: somebody has edited the database, or damaged it",
		                        (unsigned long long)problems, (unsigned long long)entries);
	if (!v->t.as_json)
		printf("%llu entries, all as they were written%s\n", (unsigned long long)entries,
		       v->against == NULL ? "" : ", and the heads are there");
	return 0;
}

int cw_factory_audit(int argc, char **argv)
{
	struct verb v = { .limit = SHOWN };
	const struct factory_option options[] = {
		{ "what", FACTORY_TEXT, &v.filter.what },
		{ "who", FACTORY_TEXT, &v.filter.who },
		{ "node", FACTORY_TEXT, &v.filter.node },
		{ "product", FACTORY_TEXT, &v.filter.product_key },
		{ "device-name", FACTORY_TEXT, &v.filter.device_name },
		{ "device-id", FACTORY_TEXT, &v.filter.device_id },
		{ "since", FACTORY_TIME, &v.filter.since },
		{ "until", FACTORY_TIME, &v.filter.until },
		{ "newest", FACTORY_FLAG, &v.filter.newest },
		{ "limit", FACTORY_NUMBER, &v.limit },
		{ "head", FACTORY_FLAG, &v.head },
		{ "verify", FACTORY_FLAG, &v.verify },
		{ "against", FACTORY_TEXT, &v.against },
	};
	int rc = factory_options(&v.t, argc, argv, usage, options, sizeof(options) / sizeof(options[0]));

	if (rc < 0)
		rc = factory_words(&v.t, 0, 0);
	if (rc < 0 && v.filter.what != NULL && !known_kind(v.filter.what))
		rc = factory_misused(&v.t, "--what %s: there is no such kind of entry", v.filter.what);
	if (rc < 0 && v.head + v.verify > 1)
		rc = factory_misused(&v.t, "--head and --verify are two things");
	if (rc < 0 && v.against != NULL && !v.verify)
		rc = factory_misused(&v.t, "--against belongs to --verify");
	if (rc >= 0)
		return rc;
	rc = factory_open(&v.t, FACTORY_READ);
	if (rc == 0)
		rc = v.head ? heads(&v) : v.verify ? verify(&v) : list(&v);
	factory_close(&v.t);
	return rc;
}

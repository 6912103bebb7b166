/* show.c - see show.h. */
#include "cli/show.h"

#include <string.h>

#include "base/mem.h"
#include "daemon/config.h"

static const char *kind_name(unsigned kind)
{
	switch (kind) {
	case CW_KIND_PROPERTIES: return "properties";
	case CW_KIND_EVENT: return "event";
	case CW_KIND_TAGS: return "tags";
	case CW_KIND_RAW: return "raw";
	case CW_KIND_OTA_VERSION: return "otaVersion";
	case CW_KIND_OTA_PROGRESS: return "otaProgress";
	case CW_KIND_SHADOW_REPORT: return "shadowReport";
	default: return "unknown";
	}
}

void cw_show_record(struct cw_json *j, struct cw_bytes bytes)
{
	static const char *const event_types[] = { "", "info", "alert", "error" };
	struct cw_record rec;

	if (!cw_record_read(bytes, &rec))
		return;
	cw_json_map(j);
	cw_json_field(j, "kind", kind_name(rec.kind));
	if (rec.name.len > 0) {
		cw_json_text(j, "name");
		cw_json_textn(j, rec.name);
	}
	if (rec.has_time) {
		cw_json_text(j, "time");
		cw_json_int(j, rec.time_ms);
	}
	if (rec.event_type != 0)
		cw_json_field(j, "type", event_types[rec.event_type]);
	if (rec.flags & CW_RECORD_URGENT) {
		cw_json_text(j, "urgent");
		cw_json_bool(j, 1);
	}
	if (rec.flags & CW_RECORD_REPLAY) {
		cw_json_text(j, "replay");
		cw_json_bool(j, 1);
	}
	cw_json_text(j, "values");
	if (rec.kind == CW_KIND_RAW)
		cw_json_hex(j, rec.body);
	else
		cw_json_encoded(j, rec.body);
	cw_json_end_map(j);
}

const char *cw_show_refusal(int rc)
{
	switch (rc) {
	case CW_EPROTO: return "malformed";
	case CW_EUNSUPPORTED: return "unsupported";
	case CW_ELIMIT: return "limit";
	case CW_ENOMEM: return "memory";
	case CW_ECLOSED: return "closed";
	default: return "refused";
	}
}

int cw_show_encoded_settings(const struct cw_plugin_desc *desc, const char *sets, struct cw_bytes device, uint8_t **ret_bytes,
                             size_t *ret_len, struct cw_msg *msg)
{
	struct cw_conf_report report = { 0 };
	struct cw_conf_tree *tree = NULL;
	int rc = cw_conf_parse_text("--set", sets, strlen(sets), NULL, &tree, msg);

	if (rc < 0)
		return rc;
	rc = cw_config_settings(desc, NULL, cw_conf_root(tree), NULL, device, ret_bytes, ret_len, &report);
	if (rc < 0)
		cw_conf_report_msg(&report, msg);
	cw_conf_report_fini(&report);
	cw_conf_tree_unref(tree);
	return rc;
}

int cw_show_settings(struct cw_runner *r, const struct cw_plugin_desc *desc, const char *sets, void **ret_conf, struct cw_msg *msg)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	int rc = cw_show_encoded_settings(desc, sets, cw_bytes_of(NULL, 0), &bytes, &len, msg);

	if (rc == 0)
		rc = cw_runner_settings(r, cw_bytes_of(bytes, len), ret_conf, msg);
	cw_free(bytes);
	return rc;
}

/* show.h - what the tools that run a decoder (decode, plugin replay) have in common: its settings, its records as JSON. */
#ifndef CW_CLI_SHOW_H
#define CW_CLI_SHOW_H

#include "json/json.h"
#include "plugin/runner.h"

/* One record as an object: kind, name, time, type, urgent, replay, values. */
void cw_show_record(struct cw_json *j, struct cw_bytes record);
/* What decode() returned, as a word. */
const char *cw_show_refusal(int rc);
/* Settings given as HOCON text (and, of a device, as JSON text), checked and with all defaults, encoded; owned (cw_free). */
int cw_show_encoded_settings(const struct cw_plugin_desc *desc, const char *sets, struct cw_bytes device, uint8_t **ret_bytes,
                             size_t *ret_len, struct cw_msg *msg);
/* The same in the plugin's form; free with cw_runner_settings_free(). */
int cw_show_settings(struct cw_runner *r, const struct cw_plugin_desc *desc, const char *sets, void **ret_conf, struct cw_msg *msg);

#endif

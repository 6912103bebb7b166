/*
 * A file of device names as anybody may upload it: rows are read from a block of exactly the bytes given, and every field must
 * lie within its row and be a text; then the whole file is offered to a batch.
 */
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/log.h"
#include "cloud/core/stock/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const char *text, size_t len)
{
	struct cw_csv csv;
	struct cw_csv_row row;
	unsigned line = 0, i;

	cw_csv_begin(&csv, cw_bytes_of(text, len));
	while (cw_csv_next(&csv, &row)) {
		if (row.line <= line)
			abort();
		line = row.line;
		for (i = 0; i < row.count && row.problem == NULL; i++) {
			if (row.field[i] < row.text || row.field[i] + strlen(row.field[i]) >= row.text + sizeof(row.text))
				abort();
		}
	}
}

static void offer(const char *text, size_t len)
{
	static struct cw_worker *worker;
	struct cloud_conf conf;
	struct cw_cloud *c = NULL;
	struct cloud_product *p = NULL;
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL;
	int rc;

	cw_cloud_conf_default(&conf);
	conf.keep_messages = 1;
	if ((worker == NULL && cw_worker_new("fuzz", 0, &worker) < 0) || cw_cloud_new(worker, &conf, &c) < 0 ||
	    cw_cloud_product_add(c, "a1EmuPk0001", "secret", CLOUD_NODE_DEVICE, &p, &msg) < 0)
		abort();
	rc = cw_cloud_batch_upload(c, p, text, len, &b, &bad, &msg);
	if ((rc == 0) != (b != NULL) || (rc < 0 && msg.text[0] == '\0') || p->device_count != 0)
		abort();
	json_decref(bad);
	cw_cloud_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text = realloc(text, size != 0 ? size : 1); /* no byte to spare behind */
	cw_log_set_level(CW_LOG_ERROR);
	read_rows(text, size);
	offer(text, size);
	free(text);
	return 0;
}

/* The Java libraries' application.conf: any bytes as the file; what is added to it leaves a tree that can be read. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/parse.h"
#include "daemon/java.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_conf_options opt = { .syntax = CW_CONF_HOCON, .memory_limit = 1024 * 1024 };
	struct cw_conf_report report = { .kept = 0 };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	char path[64], lines[512], *text = NULL;
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", 0);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (cw_conf_parse_file(path, &opt, &tree, &msg) == 0) {
		(void)cw_java_upstream(cw_conf_root(tree), lines, sizeof(lines));
		if (cw_java_config(path, "jt808", "jt808", &tree, &report, &msg) == 0) {
			if (cw_dump_value(cw_conf_root(tree), CW_DUMP_JSON, 0, &text, NULL) == 0 && text[0] != '{')
				abort();
			cw_free(text);
		} else if (report.errors == 0 && msg.text[0] == '\0') {
			abort();
		}
	}
	cw_conf_report_fini(&report);
	cw_conf_tree_unref(tree);
	return 0;
}

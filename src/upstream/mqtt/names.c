/*
 * names.c - the names of a bridge that has only a certificate. The platform tells them after the first
 * login; kept, the next one has them. Whoever deletes the file makes the bridge ask again. The file is
 * read while the configuration is taken, and written once in a bridge's life: on the upstream's loop, which is not
 * logged in anywhere at that moment.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "upstream/mqtt/mqtt.h"

#define HEAD "causeway-names 1 "

/* 0 when there is no place for it. */
static int path_of(const struct mqtt *m, char *out, size_t size)
{
	int n;

	if (m->u->conf.state_dir == NULL)
		return 0;
	n = snprintf(out, size, "%s/names-%s", m->u->conf.state_dir, m->u->conf.name);
	return n > 0 && (size_t)n < size;
}

void mqtt_names_read(struct mqtt *m)
{
	char path[1024], pk[sizeof(m->pk)], dn[sizeof(m->dn)], end;
	struct cw_msg msg = { "" };
	char *text;
	size_t len;
	int rc;

	if (!path_of(m, path, sizeof(path)))
		return;
	rc = cw_file_read(path, 512, &text, &len, &msg);
	if (rc == CW_ENOENT)
		return;
	if (rc == 0 && sscanf(text, HEAD "%31s %63s%c", pk, dn, &end) == 3 && end == '\n') {
		memcpy(m->pk, pk, sizeof(m->pk));
		memcpy(m->dn, dn, sizeof(m->dn));
	} else {
		cw_log(upstream_named, rc == 0 ? "the file is not understood; the platform is asked again" : msg.text,
		       CW_LS("upstream", m->u->conf.name), CW_LS("file", path));
	}
	if (rc == 0)
		cw_free(text);
}

void mqtt_names_keep(struct mqtt *m)
{
	char path[1024], text[160];
	struct cw_msg msg = { "" };
	int n = snprintf(text, sizeof(text), HEAD "%s %s\n", m->pk, m->dn), rc = 0;

	if (path_of(m, path, sizeof(path)))
		rc = cw_file_replace(path, cw_bytes_of(text, (size_t)n), &msg);
	cw_log(upstream_named, rc < 0 ? msg.text : "this is the bridge the certificate belongs to",
	       CW_LS("upstream", m->u->conf.name), CW_LS("product", m->pk), CW_LS("device", m->dn));
}

void mqtt_names_forget(struct mqtt *m)
{
	char path[1024];
	struct cw_msg msg = { "" };

	m->pk[0] = m->dn[0] = '\0';
	if (path_of(m, path, sizeof(path)))
		(void)cw_file_remove(path, &msg);
	cw_log(upstream_named, "refused with the names kept from before; the platform is asked again",
	       CW_LS("upstream", m->u->conf.name));
}

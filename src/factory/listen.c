/* listen.c - an HTTP server for a front: its certificate files, its address in the log. */
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "factory/factory.h"
#include "net/addr.h"

#define PEM_MOST (1u << 20)
/* Connections: hundreds of stations, or a site of devices, behind one address, and not all there may be. */
#define PER_ADDRESS 1024u

static int read_pem(const char *path, const char *what, char **ret_text, struct cw_msg *msg)
{
	size_t len;
	int rc = path != NULL ? cw_file_read(path, PEM_MOST, ret_text, &len, msg) : 0;

	if (rc < 0)
		cw_msg_wrap(msg, "%s", what);
	return rc;
}

static void wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	cw_free(text);
}

int cw_factory_http_open(struct factory *f, const char *front, const struct factory_listen *listen, struct cw_http_conf *conf,
			 struct cw_http **ret_http, struct cw_msg *msg)
{
	char *certificate = NULL, *key = NULL, *ca = NULL, address[CW_ADDR_TEXT];
	struct cw_addr addr;
	int rc = cw_addr_parse(listen->listen, &addr, msg);

	if (rc == 0)
		rc = read_pem(listen->tls.certificate, "tls.certificate", &certificate, msg);
	if (rc == 0)
		rc = read_pem(listen->tls.key, "tls.key", &key, msg);
	if (rc == 0)
		rc = read_pem(listen->tls.client_ca, "tls.clientCa", &ca, msg);
	if (rc == 0) {
		conf->address = cw_addr_format(&addr, address);
		conf->per_address = PER_ADDRESS;
		conf->tls_certificate = certificate;
		conf->tls_key = key;
		conf->tls_client_ca = ca;
		rc = cw_http_open(f->loop, conf, ret_http, msg);
		conf->address = conf->tls_certificate = conf->tls_key = conf->tls_client_ca = NULL;
	}
	wipe(key);
	cw_free(certificate);
	cw_free(ca);
	if (rc < 0)
		return rc;
	cw_log(factory_listening, listen->tls.client_ca != NULL ? "HTTPS, with client certificates" : listen->tls.certificate != NULL ? "HTTPS" : "HTTP",
	       CW_LS("front", front), CW_LS("address", cw_http_address(*ret_http)));
	return 0;
}

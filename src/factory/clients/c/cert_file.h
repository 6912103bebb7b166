/* cert_file.h - where the two examples keep a certificate: a file that is whole or not there. A firmware has its flash or NVRAM here. */
#ifndef CERT_FILE_H
#define CERT_FILE_H

#include "triple_burn.h"

/* 0: a whole certificate, 1: the file is not there, -1: it cannot be read or something in it is missing or too long. */
int cert_file_read(const char *path, struct triple_burn_cert *ret);
/* 0: it is on the disk and a power cut leaves it there. -1 with errno. A triple_burn_store: arg is the path. */
int cert_file_store(void *path, const struct triple_burn_cert *cert);

#endif

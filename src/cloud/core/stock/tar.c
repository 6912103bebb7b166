/* tar.c - see tar.h. */
#include "cloud/core/stock/tar.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

#define BLOCK 512u

/* Fields and their offsets in the header block. */
enum { AT_MODE = 100, AT_UID = 108, AT_GID = 116, AT_SIZE = 124, AT_MTIME = 136, AT_SUM = 148, AT_TYPE = 156, AT_MAGIC = 257 };

/* Room for `len` more bytes, filled with zeros. */
static uint8_t *grow(struct cloud_tar *t, size_t len)
{
	size_t room = t->room;
	uint8_t *data;

	while (room - t->len < len)
		room = room != 0 ? 2 * room : 64 * BLOCK;
	if (room != t->room) {
		data = cw_realloc(t->data, room);
		if (data == NULL)
			return NULL;
		t->data = data;
		t->room = room;
	}
	data = t->data + t->len;
	memset(data, 0, len);
	t->len += len;
	return data;
}

/* A number of so many octal digits; what is behind them stays 0. */
static void put(uint8_t *header, size_t at, int digits, unsigned long long value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%0*llo", digits, value);
	memcpy(header + at, text, (size_t)digits);
}

int cw_cloud_tar_add(struct cloud_tar *t, const char *name, const void *data, size_t len, int64_t mtime_s)
{
	size_t name_len = strlen(name), i;
	uint8_t *header;
	unsigned sum = 0;

	if (name_len >= 100 || len >= 1ull << 33)
		return CW_EINVAL;
	header = grow(t, BLOCK + (len + BLOCK - 1) / BLOCK * BLOCK);
	if (header == NULL)
		return CW_ENOMEM;
	memcpy(header, name, name_len);
	put(header, AT_MODE, 7, 0600);
	put(header, AT_UID, 7, 0);
	put(header, AT_GID, 7, 0);
	put(header, AT_SIZE, 11, len);
	put(header, AT_MTIME, 11, (unsigned long long)mtime_s);
	header[AT_TYPE] = '0';
	memcpy(header + AT_MAGIC, "ustar\00000", 8);
	memset(header + AT_SUM, ' ', 8); /* counted as blanks */
	for (i = 0; i < BLOCK; i++)
		sum += header[i];
	put(header, AT_SUM, 6, sum);
	header[AT_SUM + 6] = '\0';
	if (len != 0)
		memcpy(header + BLOCK, data, len);
	return 0;
}

int cw_cloud_tar_end(struct cloud_tar *t)
{
	return grow(t, 2 * (size_t)BLOCK) != NULL ? 0 : CW_ENOMEM;
}

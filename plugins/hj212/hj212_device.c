/*
 * hj212_device.c - one device of a connection: what its frames have shown, what the host keeps of it beyond the connection.
 */
#include "hj212.h"

#include <stdlib.h>

struct hj_device *hj_device_find(struct hj_conn *c, struct cw_bytes mn)
{
	struct hj_device **at = &c->devices, *dev;

	for (; (dev = *at) != NULL; at = &dev->next) {
		if (dev->mn_len != mn.len || memcmp(dev->mn, mn.ptr, mn.len) != 0)
			continue;
		*at = dev->next; /* to the front: those that talk are found at once */
		dev->next = c->devices;
		c->devices = dev;
		return dev;
	}
	return NULL;
}

struct hj_device *hj_device_new(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, struct cw_bytes mn)
{
	struct hj_device *dev;

	if (mn.len == 0 || mn.len > HJ_MN_MOST || d->host->charge(d->hx, ev->conn, sizeof(*dev)) < 0)
		return NULL;
	dev = calloc(1, sizeof(*dev));
	if (dev == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*dev));
		return NULL;
	}
	dev->conn = c;
	dev->recount = UINT32_MAX;
	dev->mn_len = (uint8_t)mn.len;
	memcpy(dev->mn, mn.ptr, mn.len);
	dev->next = c->devices;
	c->devices = dev;
	c->device_count++;
	return dev;
}

void hj_device_forget_settings(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	if (dev->looked == NULL)
		return;
	free(dev->looked);
	dev->looked = NULL;
	dev->conf = NULL;
	d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*dev->looked));
}

void hj_device_free(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	struct hj_conn *c = dev->conn;
	struct hj_device **at = &c->devices;

	hj_command_drop(d, ev, dev);
	hj_answer_drop(d, ev, c, dev);
	hj_join_free(d, ev, dev);
	hj_device_forget_settings(d, ev, dev);
	if (dev->marks != NULL) {
		free(dev->marks);
		d->host->charge(d->hx, ev->conn, -(int64_t)(sizeof(*dev->marks) * HJ_MARKS_MOST));
	}
	while (*at != dev)
		at = &(*at)->next;
	*at = dev->next;
	c->device_count--;
	free(dev);
	d->host->charge(d->hx, ev->conn, -(int64_t)sizeof(*dev));
}

/* ---- what is kept ---------------------------------------------------------------------- */

static void load_text(struct cw_bytes saved, const char *key, char *to, size_t size)
{
	struct cw_bytes t = cw_map_text(saved, key);

	if (t.len == 0 || t.len >= size)
		return;
	memcpy(to, t.ptr, t.len);
	to[t.len] = 0;
}

static uint32_t load_number(struct cw_bytes saved, const char *key, uint32_t absent, uint32_t most)
{
	int64_t v = cw_map_int(saved, key, absent);

	return v < 0 || v > most ? absent : (uint32_t)v;
}

void hj_device_load(struct hj_device *dev, struct cw_bytes saved)
{
	load_text(saved, "pw", dev->pw_set, sizeof(dev->pw_set));
	load_text(saved, "pwOver", dev->pw_over, sizeof(dev->pw_over));
	load_text(saved, "pwSeen", dev->pw_seen, sizeof(dev->pw_seen));
	load_text(saved, "st", dev->st, sizeof(dev->st));
	dev->has_st = dev->st[0] != 0;
	dev->over_ms = load_number(saved, "over", 0, 99000);
	dev->recount = load_number(saved, "recount", UINT32_MAX, 99);
	dev->rtd_s = load_number(saved, "rtd", 0, 86400);
	dev->min_m = load_number(saved, "min", 0, 86400);
	dev->version = (uint8_t)load_number(saved, "version", HJ_2017, HJ_2025);
	dev->known_version = cw_map_item(saved, "version").type == CW_ITEM_INT;
}

void hj_device_save(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	uint8_t buf[512];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_uint(&w, "v", 1);
	if (dev->pw_set[0] != 0) {
		cw_field_bytes(&w, "pw", cw_bytes_text(dev->pw_set));
		cw_field_bytes(&w, "pwOver", cw_bytes_text(dev->pw_over));
	}
	if (dev->pw_seen[0] != 0)
		cw_field_bytes(&w, "pwSeen", cw_bytes_text(dev->pw_seen));
	if (dev->has_st)
		cw_field_bytes(&w, "st", cw_bytes_text(dev->st));
	if (dev->over_ms > 0)
		cw_field_uint(&w, "over", dev->over_ms);
	if (dev->recount != UINT32_MAX)
		cw_field_uint(&w, "recount", dev->recount);
	if (dev->rtd_s > 0)
		cw_field_uint(&w, "rtd", dev->rtd_s);
	if (dev->min_m > 0)
		cw_field_uint(&w, "min", dev->min_m);
	if (dev->known_version)
		cw_field_uint(&w, "version", dev->version);
	cw_put_end(&w);
	if (!w.overflow && dev->attached)
		d->host->device_save(d->hx, ev->conn, dev->handle, cw_written(&w));
}

/* ---- settings, passwords ------------------------------------------------------------------ */

const struct hj_conf *hj_conf_of(struct cw_decoder *d, const struct hj_conn *c, const struct hj_device *dev)
{
	if (dev != NULL && dev->conf != NULL)
		return dev->conf;
	return c->conf != NULL ? c->conf : d->fallback;
}

/* What was set over the configured one counts until the configuration changes. */
static int was_set(const struct hj_conf *conf, const struct hj_device *dev)
{
	return dev->pw_set[0] != 0 && strcmp(dev->pw_over, conf->password) == 0;
}

int hj_password_good(const struct hj_conf *conf, struct hj_device *dev, struct cw_bytes pw)
{
	if (was_set(conf, dev)) {
		if (cw_bytes_equal(pw, cw_bytes_text(dev->pw_set)))
			dev->pw_old_ok = 0;
		else
			return conf->password[0] == 0 || (dev->pw_old_ok && cw_bytes_equal(pw, cw_bytes_text(conf->password)));
		return 1;
	}
	return conf->password[0] == 0 || cw_bytes_equal(pw, cw_bytes_text(conf->password));
}

const char *hj_password_of(const struct hj_conf *conf, const struct hj_device *dev)
{
	if (was_set(conf, dev))
		return dev->pw_set;
	return conf->password[0] != 0 ? conf->password : dev->pw_seen;
}

unsigned hj_version_of(const struct hj_conf *conf, const struct hj_device *dev)
{
	if (conf->edition != 0)
		return conf->edition - 1u;
	return dev->known_version ? dev->version : HJ_2017;
}

/* Three real-time intervals, and never less than the setting. */
uint64_t hj_offline_ms(const struct hj_conf *conf, const struct hj_device *dev)
{
	uint64_t three = 3000ull * dev->rtd_s;

	return three > conf->offline_ms ? three : conf->offline_ms;
}

static int same_or_copy(char *to, size_t size, struct cw_bytes t)
{
	if (t.len == 0 || t.len >= size || cw_bytes_equal(t, cw_bytes_text(to)))
		return 1;
	memcpy(to, t.ptr, t.len);
	to[t.len] = 0;
	return 0;
}

/* How the device writes: so must be written to it, also before it says anything the next time. */
void hj_device_learn(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m)
{
	int same = 1;

	if (m->version <= HJ_2025 && (!dev->known_version || dev->version != m->version)) {
		/* Answers of devices of 2017 may come without Flag. */
		if (m->has_flag || !dev->known_version) {
			dev->version = (uint8_t)m->version;
			dev->known_version = 1;
			same = 0;
		}
	}
	if (m->cn < 9000 && m->st.len == 2 && !cw_bytes_equal(m->st, cw_bytes_text("91"))) {
		same &= same_or_copy(dev->st, sizeof(dev->st), m->st);
		dev->has_st = 1;
	}
	same &= same_or_copy(dev->pw_seen, sizeof(dev->pw_seen), m->pw);
	if (!same)
		hj_device_save(d, ev, dev);
}

/* ---- frames that come again ---------------------------------------------------------------- */

static uint64_t hash_of(struct cw_bytes t)
{
	uint64_t h = 1469598103934665603ull;
	size_t i;

	for (i = 0; i < t.len; i++)
		h = (h ^ t.ptr[i]) * 1099511628211ull;
	return h;
}

/*
 * The checksum has eight bits only; a hash of the segment stands beside it. What was put together has the same key whichever
 * of its pieces came last.
 */
void hj_frame_key(const struct cw_decoder *d, const struct hj_msg *m, uint8_t key[32])
{
	struct cw_bytes t = hj_plain(d, m, "DataTime");
	uint64_t h = m->whole ? hash_of(m->cp) ^ hash_of(m->qn) << 1 : hash_of(m->segment);
	unsigned pno = m->whole ? 0 : m->pno, crc = m->whole ? 0 : m->crc, i;

	memset(key, 0, 32);
	key[0] = (uint8_t)(m->cn >> 8);
	key[1] = (uint8_t)m->cn;
	key[2] = (uint8_t)(pno >> 8);
	key[3] = (uint8_t)pno;
	key[4] = (uint8_t)(crc >> 8);
	key[5] = (uint8_t)crc;
	if (t.len > 0)
		memcpy(key + 6, t.ptr, t.len < 14 ? t.len : 14);
	for (i = 0; i < 8; i++)
		key[20 + i] = (uint8_t)(h >> (8 * i));
}

int hj_seen_before(struct hj_device *dev, const struct hj_msg *m)
{
	uint64_t h = hash_of(m->segment);
	unsigned i;

	for (i = 0; i < HJ_RECENT; i++)
		if (dev->recent[i] == h)
			return 1;
	dev->recent[dev->recent_at++ % HJ_RECENT] = h;
	return 0;
}

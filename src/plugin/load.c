/* load.c - see load.h. */
#include "plugin/load.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The first members of the descriptor, there in every version of it. */
#define DESC_LEAST offsetof(struct cw_plugin_desc, decoder) + sizeof(void *)
#define OPS_LEAST offsetof(struct cw_decoder_ops, event) + sizeof(void *)
#define FRAME_MOST (16u * 1024u * 1024u)

static int name_ok(const char *name)
{
	size_t n = 0;

	if (name == NULL)
		return 0;
	for (; name[n] != '\0'; n++)
		if (!((name[n] >= 'a' && name[n] <= 'z') || (name[n] >= '0' && name[n] <= '9')) || n >= 31)
			return 0;
	return n > 0;
}

static int check_abi(const char *path, uint32_t abi, struct cw_msg *msg)
{
	unsigned major = abi >> 16, minor = abi & 0xffffu;
	if (major == CW_ABI_MAJOR && minor <= CW_ABI_MINOR)
		return 0;
	return cw_fail(msg, CW_EABI, "%s: built for ABI %u.%u, this causewayd speaks %u.%u; rebuild it against the headers of this version%s",
	               path, major, minor, CW_ABI_MAJOR, CW_ABI_MINOR, major == CW_ABI_MAJOR ? ", or use a newer causewayd" : "");
}

static int check_ops(const char *path, const struct cw_plugin_desc *d, struct cw_msg *msg)
{
	const struct cw_decoder_ops *o = d->decoder;
	const char *missing = NULL;

	if (o == NULL)
		return cw_fail(msg, CW_EINVAL, "%s: the descriptor has no decoder; set .decoder to the table of operations", path);
	if (o->size < OPS_LEAST)
		return cw_fail(msg, CW_EABI, "%s: the decoder table says it is %u bytes long, at least %zu are needed; begin it with CW_DECODER_OPS_INIT",
		               path, o->size, (size_t)(OPS_LEAST));
	if (check_abi(path, o->abi, msg) < 0)
		return CW_EABI;
	if (o->create == NULL)
		missing = "create";
	else if (o->destroy == NULL)
		missing = "destroy";
	else if (o->frame == NULL)
		missing = "frame";
	else if (o->decode == NULL)
		missing = "decode";
	else if (o->event == NULL)
		missing = "event";
	if (missing != NULL)
		return cw_fail(msg, CW_EINVAL, "%s: the decoder has no %s(); every decoder needs create, destroy, frame, decode and event", path, missing);
	if ((d->caps & CW_CAP_DOWNLINK) != 0 && !CW_HAS(o, command))
		return cw_fail(msg, CW_EINVAL, "%s: declares CW_CAP_DOWNLINK but has no command(); add it or drop the capability", path);
	if (d->conf != NULL && o->settings == NULL)
		return cw_fail(msg, CW_EINVAL, "%s: declares settings but has no settings() to take them", path);
	if ((o->settings == NULL) != (o->settings_free == NULL))
		return cw_fail(msg, CW_EINVAL, "%s: settings() and settings_free() come together", path);
	return 0;
}

static int check_fields(const char *path, const struct cw_conf_field *f, int depth, struct cw_msg *msg)
{
	if (f == NULL)
		return 0;
	if (depth > 4)
		return cw_fail(msg, CW_EINVAL, "%s: settings nest deeper than 4 levels", path);
	for (; f->name != NULL; f++) {
		if (f->type < CW_FIELD_BOOL || f->type > CW_FIELD_TABLE)
			return cw_fail(msg, CW_EINVAL, "%s: setting '%s' has the unknown type %u", path, f->name, f->type);
		if (f->help == NULL || f->help[0] == '\0')
			return cw_fail(msg, CW_EINVAL, "%s: setting '%s' has no help text; operators read it in the reference", path, f->name);
		if (f->type == CW_FIELD_ENUM && f->values == NULL)
			return cw_fail(msg, CW_EINVAL, "%s: setting '%s' is an enum without values", path, f->name);
		if (f->type == CW_FIELD_TABLE && f->fields == NULL)
			return cw_fail(msg, CW_EINVAL, "%s: setting '%s' is a table without fields", path, f->name);
		if (check_fields(path, f->fields, depth + 1, msg) < 0)
			return CW_EINVAL;
	}
	return 0;
}

int cw_plugin_check(const char *path, const struct cw_plugin_desc *d, struct cw_msg *msg)
{
	if (d == NULL)
		return cw_fail(msg, CW_EINVAL, "%s: cw_plugin_entry() returned NULL; it must return the descriptor", path);
	if (d->size < DESC_LEAST)
		return cw_fail(msg, CW_EABI, "%s: the descriptor says it is %u bytes long, at least %zu are needed; begin it with CW_PLUGIN_INIT",
		               path, d->size, (size_t)(DESC_LEAST));
	if (check_abi(path, d->abi, msg) < 0)
		return CW_EABI;
	if (!name_ok(d->name))
		return cw_fail(msg, CW_EINVAL, "%s: the protocol name '%.40s' is not 1 to 31 lower-case letters and digits", path,
		               d->name == NULL ? "(none)" : d->name);
	if (d->version == NULL || d->version[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "%s: the descriptor has no version", path);
	if ((d->caps & ~CW_CAP_KNOWN) != 0)
		return cw_fail(msg, CW_EABI, "%s: asks for capability bits 0x%x that this causewayd does not know; use a newer causewayd", path,
		               d->caps & ~CW_CAP_KNOWN);
	if (d->max_frame == 0 || d->max_frame > FRAME_MOST)
		return cw_fail(msg, CW_EINVAL, "%s: max_frame is %u; say how long a frame can be, 1 to %u bytes", path, d->max_frame, FRAME_MOST);
	if (d->field_size != sizeof(struct cw_conf_field) || d->counter_size != sizeof(struct cw_plugin_counter))
		return cw_fail(msg, CW_EABI, "%s: its settings and counters are %u and %u bytes long each, not %zu and %zu; begin the descriptor "
		               "with CW_PLUGIN_INIT", path, d->field_size, d->counter_size, sizeof(struct cw_conf_field),
		               sizeof(struct cw_plugin_counter));
	if (check_ops(path, d, msg) < 0)
		return CW_EINVAL;
	return check_fields(path, d->conf, 0, msg);
}

int cw_plugin_load(const char *path, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg)
{
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	union {
		void *object;
		cw_plugin_entry_fn fn;
	} entry;
	const struct cw_plugin_desc *d;
	int rc;

	if (so == NULL)
		return cw_fail(msg, CW_ENOENT, "cannot load plugin: %s", dlerror());
	entry.object = dlsym(so, CW_PLUGIN_ENTRY);
	if (entry.object == NULL)
		return cw_fail(msg, CW_EINVAL, "%s: is no Causeway plugin: it does not export cw_plugin_entry() (CW_PLUGIN_EXPORT makes it visible)", path);
	d = entry.fn();
	rc = cw_plugin_check(path, d, msg);
	if (rc == 0)
		*ret_desc = d;
	return rc;
}

void cw_plugin_dir(const char *configured, char *out, size_t size)
{
	/* In the build tree; below an installation's prefix. */
	static const char *const places[] = { "../plugins", "../lib/causeway/plugins" };
	char exe[512];
	ssize_t n;
	char *slash;
	size_t i;

	if (configured != NULL) {
		(void)snprintf(out, size, "%s", configured);
		return;
	}
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	if (slash != NULL) {
		*slash = '\0';
		for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			(void)snprintf(out, size, "%s/%s", exe, places[i]);
			if (access(out, X_OK) == 0)
				return;
		}
	}
	(void)snprintf(out, size, "/usr/lib/causeway/plugins");
}

void cw_plugin_list(const char *dir, char *out, size_t size)
{
	DIR *at = opendir(dir);
	struct dirent *e;
	size_t used = 0;

	out[0] = '\0';
	while (at != NULL && (e = readdir(at)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n > 3 && strcmp(e->d_name + n - 3, ".so") == 0 && used + n + 3 < size)
			used += (size_t)snprintf(out + used, size - used, "%s%.*s", used == 0 ? "" : ", ", (int)(n - 3), e->d_name);
	}
	if (at != NULL)
		closedir(at);
}

int cw_plugin_load_named(const char *dir, const char *name, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg)
{
	const struct cw_plugin_desc *desc;
	char path[1200], there[400];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%.60s.so", dir, name);
	if (strchr(name, '/') != NULL || access(path, R_OK) != 0) {
		cw_plugin_list(dir, there, sizeof(there));
		return cw_fail(msg, CW_ENOENT, "protocol \"%.60s\": there is no plugin of that name in %s; there are: %s", name, dir,
		               there[0] == '\0' ? "none" : there);
	}
	rc = cw_plugin_load(path, &desc, msg);
	if (rc < 0)
		return rc;
	if (strcmp(desc->name, name) != 0)
		return cw_fail(msg, CW_ECONF, "%s: its protocol is named \"%s\"; the file must be %s.so", path, desc->name, desc->name);
	*ret_desc = desc;
	return 0;
}

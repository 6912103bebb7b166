/* object.c - see suite.h. Reads the file for its symbols and sections; nothing in it is called. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform/suite.h"

static struct {
	const uint8_t *base;
	size_t len;
	const ElfW(Ehdr) * eh;
	const ElfW(Shdr) * sections;
	const char *names;
} im;

static int inside(uint64_t offset, uint64_t len)
{
	return offset <= im.len && len <= im.len - offset;
}

int object_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *base = MAP_FAILED;
	const ElfW(Shdr) * sections;
	unsigned i;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(ElfW(Ehdr)))
		base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (base == MAP_FAILED)
		return -1;
	im.base = base;
	im.len = (size_t)st.st_size;
	im.eh = base;
	if (memcmp(im.eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    im.eh->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
		return -1;
	if (im.eh->e_shoff == 0 || !inside(im.eh->e_shoff, (uint64_t)im.eh->e_shnum * sizeof(ElfW(Shdr))) ||
	    im.eh->e_shstrndx >= im.eh->e_shnum)
		return -1;
	sections = (const void *)(im.base + im.eh->e_shoff);
	for (i = 0; i < im.eh->e_shnum; i++)
		if (sections[i].sh_type != SHT_NOBITS && !inside(sections[i].sh_offset, sections[i].sh_size))
			return -1;
	im.sections = sections;
	im.names = (const char *)im.base + im.sections[im.eh->e_shstrndx].sh_offset;
	return 0;
}

static const ElfW(Shdr) * section_of_type(unsigned type)
{
	unsigned i;

	for (i = 0; im.sections != NULL && i < im.eh->e_shnum; i++)
		if (im.sections[i].sh_type == type)
			return &im.sections[i];
	return NULL;
}

/* Symbol i of a table, with its name; NULL past the last. */
static const ElfW(Sym) * symbol(unsigned table, size_t i, const char **ret_name)
{
	const ElfW(Shdr) *s = section_of_type(table);
	const ElfW(Sym) * sym;

	if (s == NULL || i >= s->sh_size / sizeof(*sym))
		return NULL;
	sym = (const ElfW(Sym) *)(const void *)(im.base + s->sh_offset) + i;
	*ret_name = (const char *)im.base + im.sections[s->sh_link].sh_offset + sym->st_name;
	return sym;
}

int object_sanitized(void)
{
	const ElfW(Sym) * sym;
	const char *name;
	size_t i;

	for (i = 1; (sym = symbol(SHT_DYNSYM, i, &name)) != NULL; i++)
		if (sym->st_shndx == SHN_UNDEF &&
		    (strncmp(name, "__asan_", 7) == 0 || strncmp(name, "__tsan_", 7) == 0 ||
		     strncmp(name, "__ubsan_", 8) == 0 || strncmp(name, "__sanitizer_", 12) == 0))
			return 1;
	return 0;
}

void object_check_exports(void)
{
	const ElfW(Sym) * sym;
	const char *name;
	size_t i;
	int entry = 0;

	for (i = 1; (sym = symbol(SHT_DYNSYM, i, &name)) != NULL; i++) {
		if (sym->st_shndx == SHN_UNDEF) {
			if (strncmp(name, "cw_", 3) == 0)
				fault("it needs the symbol %s; a plugin links nothing of ours", name);
		} else if (strcmp(name, CW_PLUGIN_ENTRY) == 0) {
			entry = 1;
		} else {
			fault("it exports %s; it may export nothing but " CW_PLUGIN_ENTRY
			      ": compile with -fvisibility=hidden",
			      name);
		}
	}
	if (!entry)
		fault("it does not export " CW_PLUGIN_ENTRY "; CW_PLUGIN_EXPORT makes it visible");
}

/* The toolchain's own: a flag of its destructors and the object's handle, a word each with padding. */
static int toolchain_owns(const char *name)
{
	return strncmp(name, "completed.", 10) == 0 || strcmp(name, "__dso_handle") == 0 ||
	       strcmp(name, "__TMC_END__") == 0;
}

static int writable_data(unsigned index)
{
	const char *name;

	if (index >= im.eh->e_shnum || (im.sections[index].sh_flags & SHF_WRITE) == 0)
		return 0;
	name = im.names + im.sections[index].sh_name;
	if (im.sections[index].sh_flags & SHF_TLS)
		return 1;
	return (strncmp(name, ".data", 5) == 0 && strncmp(name, ".data.rel.ro", 12) != 0) ||
	       strncmp(name, ".bss", 4) == 0;
}

void object_check_statics(void)
{
	const ElfW(Sym) * sym;
	const char *name;
	unsigned i;
	size_t k;
	int named = 0;

	for (k = 0; (sym = symbol(SHT_SYMTAB, k, &name)) != NULL; k++) {
		unsigned type = sym->st_info & 15u;

		if ((type == STT_OBJECT || type == STT_TLS) && sym->st_size > 0 && writable_data(sym->st_shndx) &&
		    !toolchain_owns(name)) {
			fault("it has the writable static %s (%zu bytes); state hangs at the instance, the connection "
			      "or the device",
			      name, (size_t)sym->st_size);
			named = 1;
		}
	}
	for (i = 0; i < im.eh->e_shnum && !named; i++) /* stripped: the sizes alone speak */
		if (writable_data(i) && im.sections[i].sh_size > sizeof(void *))
			fault("section %s has %zu bytes of writable data; state hangs at the instance, the connection "
			      "or the device",
			      im.names + im.sections[i].sh_name, (size_t)im.sections[i].sh_size);
}

void object_check_libraries(void)
{
	static const char *const allowed[] = { "libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux" };
	const ElfW(Shdr) *dynamic = section_of_type(SHT_DYNAMIC);
	const ElfW(Dyn) * d;
	const char *strings;
	unsigned i;

	if (dynamic == NULL)
		return;
	strings = (const char *)im.base + im.sections[dynamic->sh_link].sh_offset;
	for (d = (const void *)(im.base + dynamic->sh_offset); d->d_tag != DT_NULL; d++) {
		const char *name = strings + d->d_un.d_val;

		if (d->d_tag == DT_TEXTREL)
			fault("it has relocations in its code; compile with -fPIC");
		if (d->d_tag != DT_NEEDED)
			continue;
		for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			if (strncmp(name, allowed[i], strlen(allowed[i])) == 0)
				break;
		if (i == sizeof(allowed) / sizeof(allowed[0]))
			fault("it needs the library %s; libc, libm and libgcc are there wherever the gateway is, "
			      "others may not be",
			      name);
	}
}

void object_place(const void *address, char *out, size_t size)
{
	const ElfW(Sym) * sym;
	const char *name;
	Dl_info info;
	uintptr_t at;
	size_t i;

	(void)snprintf(out, size, "%p", address);
	if (dladdr(address, &info) == 0)
		return;
	at = (uintptr_t)address - (uintptr_t)info.dli_fbase;
	(void)snprintf(out, size, "+0x%zx", (size_t)at); /* for addr2line */
	for (i = 0; (sym = symbol(SHT_SYMTAB, i, &name)) != NULL; i++) {
		if ((sym->st_info & 15u) == STT_FUNC && at >= sym->st_value && at < sym->st_value + sym->st_size) {
			(void)snprintf(out, size, "%.60s()", name);
			return;
		}
	}
}

/* ---- rules ------------------------------------------------------------------------------ */

void rule_loads(struct toy *a, struct toy *b)
{
	(void)a;
	(void)b;
	doing("loading it");
	(void)suite_load(&suite);
}

static int may_look(void)
{
	if (object_open(suite.setup->plugin) < 0) {
		fault("%s cannot be read as a shared object of this machine", suite.setup->plugin);
		return 0;
	}
	if (object_sanitized()) {
		remark("it was built with a sanitizer, which adds symbols, data and libraries of its own: not looked "
		       "at");
		return 0;
	}
	return 1;
}

void rule_exports(struct toy *a, struct toy *b)
{
	(void)a;
	(void)b;
	doing("looking at its symbols");
	if (may_look())
		object_check_exports();
}

void rule_statics(struct toy *a, struct toy *b)
{
	(void)a;
	(void)b;
	doing("looking at its data");
	if (may_look())
		object_check_statics();
}

void rule_libraries(struct toy *a, struct toy *b)
{
	(void)a;
	(void)b;
	doing("looking at what it needs");
	if (may_look())
		object_check_libraries();
}

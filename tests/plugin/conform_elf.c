/* conform_elf.c - see conform.h. Reads the file for its symbols and sections, and the loaded object for its relocations. */
#include "conform.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the file -------------------------------------------------------------------- */

struct image {
	const uint8_t *base;
	size_t len;
	const ElfW(Ehdr) *eh;
	const ElfW(Shdr) *sections;
	const char *names;
};

static int map_image(const char *path, struct image *im)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *base;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(ElfW(Ehdr)))
		return -1;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (base == MAP_FAILED)
		return -1;
	im->base = base;
	im->len = (size_t)st.st_size;
	im->eh = base;
	im->sections = (const void *)(im->base + im->eh->e_shoff);
	im->names = (const char *)im->base + im->sections[im->eh->e_shstrndx].sh_offset;
	return memcmp(im->eh->e_ident, ELFMAG, SELFMAG) == 0 ? 0 : -1;
}

static const ElfW(Shdr) *section_of_type(const struct image *im, unsigned type)
{
	unsigned i;

	for (i = 0; i < im->eh->e_shnum; i++)
		if (im->sections[i].sh_type == type)
			return &im->sections[i];
	return NULL;
}

static void check_exports(const struct image *im)
{
	const ElfW(Shdr) *dyn = section_of_type(im, SHT_DYNSYM);
	const ElfW(Sym) *sym;
	const char *strings;
	size_t i, n;
	int entry = 0;

	if (dyn == NULL) {
		fault("has no table of dynamic symbols");
		return;
	}
	sym = (const void *)(im->base + dyn->sh_offset);
	strings = (const char *)im->base + im->sections[dyn->sh_link].sh_offset;
	n = dyn->sh_size / sizeof(*sym);
	for (i = 1; i < n; i++) {
		const char *name = strings + sym[i].st_name;

		if (sym[i].st_shndx == SHN_UNDEF) {
			if (strncmp(name, "cw_", 3) == 0)
				fault("needs the symbol %s; a plugin links nothing of ours", name);
		} else if (strcmp(name, CW_PLUGIN_ENTRY) == 0) {
			entry = 1;
		} else {
			fault("exports %s; it may export nothing but " CW_PLUGIN_ENTRY, name);
		}
	}
	if (!entry)
		fault("does not export " CW_PLUGIN_ENTRY);
}

/* The toolchain's own two: a flag of its destructors and the object's handle, a word each with padding. */
static int toolchain_owns(const char *name)
{
	return strncmp(name, "completed.", 10) == 0 || strcmp(name, "__dso_handle") == 0 || strcmp(name, "__TMC_END__") == 0;
}

static int writable_data(const struct image *im, unsigned index)
{
	const char *name;

	if (index >= im->eh->e_shnum || (im->sections[index].sh_flags & SHF_WRITE) == 0)
		return 0;
	name = im->names + im->sections[index].sh_name;
	if (im->sections[index].sh_flags & SHF_TLS)
		return 1;
	return (strncmp(name, ".data", 5) == 0 && strncmp(name, ".data.rel.ro", 12) != 0) || strncmp(name, ".bss", 4) == 0;
}

static void check_data(const struct image *im)
{
	const ElfW(Shdr) *table = section_of_type(im, SHT_SYMTAB);
	unsigned i;
	size_t k;

	for (i = 0; i < im->eh->e_shnum; i++)
		if (writable_data(im, i) && im->sections[i].sh_size > sizeof(void *))
			fault("section %s has %zu bytes of writable data; state belongs into the instance or the contexts",
			      im->names + im->sections[i].sh_name, (size_t)im->sections[i].sh_size);
	if (table == NULL)
		return; /* stripped: the sizes alone speak */
	for (k = 0; k < table->sh_size / sizeof(ElfW(Sym)); k++) {
		const ElfW(Sym) *sym = (const ElfW(Sym) *)(const void *)(im->base + table->sh_offset) + k;
		const char *name = (const char *)im->base + im->sections[table->sh_link].sh_offset + sym->st_name;
		unsigned type = sym->st_info & 15u;

		if ((type == STT_OBJECT || type == STT_TLS) && sym->st_size > 0 && writable_data(im, sym->st_shndx) && !toolchain_owns(name))
			fault("has the writable static %s (%zu bytes)", name, (size_t)sym->st_size);
	}
}

static void check_libraries(const struct image *im)
{
	static const char *const allowed[] = { "libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux" };
	const ElfW(Shdr) *dynamic = section_of_type(im, SHT_DYNAMIC);
	const ElfW(Dyn) *d;
	const char *strings;
	unsigned i;

	if (dynamic == NULL)
		return;
	strings = (const char *)im->base + im->sections[dynamic->sh_link].sh_offset;
	for (d = (const void *)(im->base + dynamic->sh_offset); d->d_tag != DT_NULL; d++) {
		const char *name = strings + d->d_un.d_val;

		if (d->d_tag == DT_TEXTREL)
			fault("has relocations in its code; build it with -fPIC");
		if (d->d_tag != DT_NEEDED)
			continue;
		for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			if (strncmp(name, allowed[i], strlen(allowed[i])) == 0)
				break;
		if (i == sizeof(allowed) / sizeof(allowed[0]))
			fault("needs the library %s; allowed are libc, libm and libgcc", name);
	}
}

unsigned elf_check(const char *path)
{
	struct image im;
	unsigned before = faults();

	doing("looking into the object");
	if (map_image(path, &im) < 0) {
		fault("%s cannot be read as an object of this machine", path);
		return 1;
	}
	check_exports(&im);
	check_data(&im);
	check_libraries(&im);
	munmap((void *)(uintptr_t)im.base, im.len);
	return faults() - before;
}

/* ---- the allocator ----------------------------------------------------------------- */

static long fail_at = -1, live;
static int failed;
static unsigned long calls;

static int may(void)
{
	calls++;
	if (fail_at < 0 || fail_at-- > 0)
		return 1;
	failed = 1;
	return 0;
}

static void *counted(void *p)
{
	if (p != NULL)
		live++;
	return p;
}

static void *heap_malloc(size_t n)
{
	return may() ? counted(malloc(n)) : NULL;
}

static void *heap_calloc(size_t n, size_t size)
{
	return may() ? counted(calloc(n, size)) : NULL;
}

static void *heap_realloc(void *p, size_t n)
{
	void *grown;

	if (!may())
		return NULL;
	grown = realloc(p, n);
	if (p == NULL && grown != NULL)
		live++;
	return grown;
}

static void heap_free(void *p)
{
	if (p != NULL)
		live--;
	free(p);
}

static char *heap_strdup(const char *text)
{
	return may() ? counted(strdup(text)) : NULL;
}

static char *heap_strndup(const char *text, size_t n)
{
	return may() ? counted(strndup(text, n)) : NULL;
}

/* Random numbers that come again: codes and keys made from them can be compared. */
static uint32_t chance;

static ssize_t same_random(void *out, size_t n, unsigned flags)
{
	size_t i;

	for (i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)((chance = chance * 1103515245u + 12345u) >> 16);
	return (ssize_t)n;
}

void random_again(void)
{
	chance = 1;
}

static uintptr_t replacement(const char *name)
{
	static const struct { const char *name; void (*fn)(void); } table[] = {
		{ "malloc", (void (*)(void))heap_malloc }, { "calloc", (void (*)(void))heap_calloc },
		{ "realloc", (void (*)(void))heap_realloc }, { "free", (void (*)(void))heap_free },
		{ "strdup", (void (*)(void))heap_strdup }, { "strndup", (void (*)(void))heap_strndup },
		{ "getrandom", (void (*)(void))same_random },
	};
	unsigned i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].name, name) == 0)
			return (uintptr_t)table[i].fn;
	return 0;
}

struct dynamic {
	const ElfW(Sym) *symbols;
	const char *strings;
	uintptr_t jump, rela;
	size_t jump_len, rela_len;
};

static void patch(const struct link_map *map, const struct dynamic *dyn, uintptr_t at, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), i;

	for (i = 0; at != 0 && i < len / sizeof(ElfW(Rela)); i++) {
		const ElfW(Rela) *r = (const ElfW(Rela) *)at + i;
		size_t index = sizeof(void *) == 8 ? (size_t)((uint64_t)r->r_info >> 32) : (size_t)(r->r_info >> 8);
		uintptr_t fn = index == 0 ? 0 : replacement(dyn->strings + dyn->symbols[index].st_name);
		uintptr_t slot = map->l_addr + r->r_offset;

		if (fn == 0)
			continue;
		if (mprotect((void *)(slot & ~(page - 1)), page, PROT_READ | PROT_WRITE) == 0)
			*(uintptr_t *)slot = fn;
	}
}

int elf_hook(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
	struct link_map *map = NULL;
	struct dynamic dyn = { 0 };
	const ElfW(Dyn) *d;

	if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
		return -1;
	for (d = map->l_ld; d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_SYMTAB: dyn.symbols = (const void *)d->d_un.d_ptr; break;
		case DT_STRTAB: dyn.strings = (const void *)d->d_un.d_ptr; break;
		case DT_JMPREL: dyn.jump = d->d_un.d_ptr; break;
		case DT_PLTRELSZ: dyn.jump_len = d->d_un.d_val; break;
		case DT_RELA: dyn.rela = d->d_un.d_ptr; break;
		case DT_RELASZ: dyn.rela_len = d->d_un.d_val; break;
		default: break;
		}
	}
	if (dyn.symbols == NULL || dyn.strings == NULL || (dyn.jump == 0 && dyn.rela == 0))
		return -1;
	patch(map, &dyn, dyn.jump, dyn.jump_len);
	patch(map, &dyn, dyn.rela, dyn.rela_len);
	return 0;
}

void heap_fail_at(long nth)
{
	fail_at = nth;
	failed = 0;
}

int heap_failed(void)
{
	return failed;
}

long heap_live(void)
{
	return live;
}

unsigned long heap_calls(void)
{
	return calls;
}

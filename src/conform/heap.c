/*
 * heap.c - see suite.h. The plugin's calls of malloc and its like go through relocations of its own; those are pointed here once it
 * is mapped. So any object can be tried as it was built, and nothing of the process around it is counted or made to fail.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conform/suite.h"

struct block {
	void *ptr; /* NULL: free, or 1: was one */
	const void *from;
	size_t size;
	uint64_t serial;
};

static struct block *blocks;
static size_t room, used, bytes;
static uint64_t serial;
static long fail_at = -1, live;
static int failed;
static const void *failed_from;
static unsigned long calls;
size_t heap_most = (size_t)1 << 30;
void (*heap_over)(size_t size, size_t held);

/* ---- blocks that are out --------------------------------------------------------------------- */

static size_t slot_of(const void *p)
{
	return ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u & (room - 1);
}

static struct block *find(const void *p)
{
	size_t i;

	if (room == 0)
		return NULL;
	for (i = slot_of(p); blocks[i].ptr != NULL; i = (i + 1) & (room - 1))
		if (blocks[i].ptr == p)
			return &blocks[i];
	return NULL;
}

static void put(struct block b)
{
	size_t i;

	for (i = slot_of(b.ptr); blocks[i].ptr != NULL; i = (i + 1) & (room - 1))
		;
	blocks[i] = b;
	used++;
}

static void grow(void)
{
	struct block *old = blocks;
	size_t n = room, i;

	room = room == 0 ? 4096 : (size_t)live * 4 > room ? room * 2 : room;
	blocks = calloc(room, sizeof(*blocks));
	if (blocks == NULL)
		abort();
	used = 0;
	for (i = 0; i < n; i++)
		if ((uintptr_t)old[i].ptr > 1)
			put(old[i]);
	free(old);
}

static void *took(void *p, size_t size, const void *from)
{
	if (p == NULL)
		return NULL;
	live++;
	bytes += size;
	if (2 * used >= room)
		grow();
	put((struct block){ .ptr = p, .from = from, .size = size, .serial = ++serial });
	return p;
}

/* 0: it is none of those that are out, as what libc has allocated for the plugin by itself. */
static int gave(void *p)
{
	struct block *b = p == NULL ? NULL : find(p);

	if (b == NULL)
		return 0;
	live--;
	bytes -= b->size;
	b->ptr = (void *)1; /* those behind it must still be found */
	return 1;
}

static int may(size_t size, const void *from)
{
	calls++;
	if (size > heap_most || bytes > heap_most - size) {
		if (heap_over != NULL)
			heap_over(size, bytes);
		return 0;
	}
	if (fail_at < 0 || fail_at-- > 0)
		return 1;
	failed = 1;
	failed_from = from;
	return 0;
}

#define FROM __builtin_return_address(0)

static void *heap_malloc(size_t n)
{
	return may(n, FROM) ? took(malloc(n), n, FROM) : NULL;
}

static void *heap_calloc(size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all))
		return NULL;
	return may(all, FROM) ? took(calloc(n, size), all, FROM) : NULL;
}

static void *resize(void *p, size_t n, const void *from)
{
	struct block *b;
	int ours;
	void *grown;

	if (!may(n, from))
		return NULL;
	b = p == NULL ? NULL : find(p);
	ours = b != NULL || p == NULL;
	if (b != NULL)
		(void)gave(p);
	grown = realloc(p, n);
	return ours ? took(grown, n, from) : grown;
}

static void *heap_realloc(void *p, size_t n)
{
	return resize(p, n, FROM);
}

static void *heap_reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	return __builtin_mul_overflow(n, size, &all) ? NULL : resize(p, all, FROM);
}

static void heap_free(void *p)
{
	(void)gave(p);
	free(p);
}

static char *heap_strdup(const char *text)
{
	size_t n = strlen(text) + 1;

	return may(n, FROM) ? took(strdup(text), n, FROM) : NULL;
}

static char *heap_strndup(const char *text, size_t n)
{
	return may(n + 1, FROM) ? took(strndup(text, n), n + 1, FROM) : NULL;
}

static void *heap_aligned(size_t align, size_t n)
{
	return may(n, FROM) ? took(memalign(align, n), n, FROM) : NULL;
}

static int heap_posix_memalign(void **ret, size_t align, size_t n)
{
	int rc = may(n, FROM) ? posix_memalign(ret, align, n) : 12;

	if (rc == 0)
		(void)took(*ret, n, FROM);
	return rc;
}

/* What the compiler knows of the originals, for those in their place. */
#define PRINTS(last) __attribute__((format(printf, last, 0)))

PRINTS(2) static int print(char **ret, const char *fmt, va_list ap, const void *from)
{
	int n = may(64, from) ? vasprintf(ret, fmt, ap) : -1;

	if (n >= 0)
		(void)took(*ret, (size_t)n + 1, from);
	return n;
}

PRINTS(2) static int heap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	return print(ret, fmt, ap, FROM);
}

PRINTS(2) static int heap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = print(ret, fmt, ap, FROM);
	va_end(ap);
	return n;
}

/* With -D_FORTIFY_SOURCE=2. */
PRINTS(3) static int heap_asprintf_chk(char **ret, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = print(ret, fmt, ap, FROM);
	va_end(ap);
	return n;
}

PRINTS(3) static int heap_vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	return print(ret, fmt, ap, FROM);
}

/* Random numbers that come again: codes and keys made from them can be compared. */
static uint32_t chance;

static ssize_t same_random(void *out, size_t n, unsigned flags)
{
	size_t i;

	(void)flags;
	for (i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)((chance = chance * 1103515245u + 12345u) >> 16);
	return (ssize_t)n;
}

void random_again(void)
{
	chance = 1;
}

/* ---- relocations -------------------------------------------------------------------------- */

static uintptr_t replacement(const char *name)
{
#define REPLACE(name, fn) { name, (void (*)(void))fn }
	static const struct { const char *name; void (*fn)(void); } table[] = {
		REPLACE("malloc", heap_malloc), REPLACE("calloc", heap_calloc), REPLACE("realloc", heap_realloc), REPLACE("free", heap_free),
		REPLACE("reallocarray", heap_reallocarray), REPLACE("strdup", heap_strdup), REPLACE("strndup", heap_strndup),
		REPLACE("__strdup", heap_strdup), REPLACE("__strndup", heap_strndup), REPLACE("aligned_alloc", heap_aligned),
		REPLACE("memalign", heap_aligned), REPLACE("posix_memalign", heap_posix_memalign), REPLACE("asprintf", heap_asprintf),
		REPLACE("vasprintf", heap_vasprintf), REPLACE("__asprintf_chk", heap_asprintf_chk), REPLACE("__vasprintf_chk", heap_vasprintf_chk),
		REPLACE("getrandom", same_random),
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
	uintptr_t jump, rela, rel;
	size_t jump_len, rela_len, rel_len;
	int jump_is_rela;
};

static void patch_slot(const struct link_map *map, const struct dynamic *dyn, ElfW(Addr) offset, ElfW(Xword) info)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t index = sizeof(void *) == 8 ? (size_t)(info >> 32) : (size_t)(info >> 8);
	uintptr_t fn = index == 0 ? 0 : replacement(dyn->strings + dyn->symbols[index].st_name);
	uintptr_t slot = map->l_addr + offset;

	if (fn != 0 && mprotect((void *)(slot & ~(page - 1)), page, PROT_READ | PROT_WRITE) == 0)
		*(uintptr_t *)slot = fn;
}

static void patch_rela(const struct link_map *map, const struct dynamic *dyn, uintptr_t at, size_t len)
{
	size_t i;

	for (i = 0; at != 0 && i < len / sizeof(ElfW(Rela)); i++)
		patch_slot(map, dyn, ((const ElfW(Rela) *)at)[i].r_offset, ((const ElfW(Rela) *)at)[i].r_info);
}

/* Machines of 32 bits have these. */
static void patch_rel(const struct link_map *map, const struct dynamic *dyn, uintptr_t at, size_t len)
{
	size_t i;

	for (i = 0; at != 0 && i < len / sizeof(ElfW(Rel)); i++)
		patch_slot(map, dyn, ((const ElfW(Rel) *)at)[i].r_offset, ((const ElfW(Rel) *)at)[i].r_info);
}

int heap_hook(const char *path)
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
		case DT_PLTREL: dyn.jump_is_rela = d->d_un.d_val == DT_RELA; break;
		case DT_RELA: dyn.rela = d->d_un.d_ptr; break;
		case DT_RELASZ: dyn.rela_len = d->d_un.d_val; break;
		case DT_REL: dyn.rel = d->d_un.d_ptr; break;
		case DT_RELSZ: dyn.rel_len = d->d_un.d_val; break;
		default: break;
		}
	}
	if (dyn.symbols == NULL || dyn.strings == NULL)
		return -1;
	(dyn.jump_is_rela ? patch_rela : patch_rel)(map, &dyn, dyn.jump, dyn.jump_len);
	patch_rela(map, &dyn, dyn.rela, dyn.rela_len);
	patch_rel(map, &dyn, dyn.rel, dyn.rel_len);
	return 0;
}

/* ---- asked by the rules ---------------------------------------------------------------------- */

void heap_fail_at(long nth)
{
	fail_at = nth;
	failed = 0;
}

int heap_failed(void)
{
	return failed;
}

const char *heap_failed_place(void)
{
	static char place[80];

	object_place(failed_from, place, sizeof(place));
	return place;
}

long heap_live(void)
{
	return live;
}

size_t heap_bytes(void)
{
	return bytes;
}

unsigned long heap_calls(void)
{
	return calls;
}

void heap_describe(char *out, size_t size)
{
	const struct block *oldest = NULL;
	char place[80];
	size_t i;

	out[0] = '\0';
	for (i = 0; i < room; i++)
		if ((uintptr_t)blocks[i].ptr > 1 && (oldest == NULL || blocks[i].serial < oldest->serial))
			oldest = &blocks[i];
	if (oldest == NULL)
		return;
	object_place(oldest->from, place, sizeof(place));
	(void)snprintf(out, size, "%zu bytes allocated in %s", oldest->size, place);
}

void heap_forget(void)
{
	if (room > 0)
		memset(blocks, 0, room * sizeof(*blocks));
	used = 0;
	live = 0;
	bytes = 0;
}

/* heap.h - between a loaded plugin and the allocator: every block it takes is known, and may be refused. One plugin a process. */
#ifndef CW_CONFORM_HEAP_H
#define CW_CONFORM_HEAP_H

#include <stddef.h>

/* Put the counting allocator into the relocations of the loaded object. 0 or -1. */
int heap_hook(const char *path);
/* The nth (0 = next) allocation of the plugin fails; negative: none does. */
void heap_fail_at(long nth);
int heap_failed(void);
/* Where it was, as object_place(). */
const char *heap_failed_place(void);
long heap_live(void);
size_t heap_bytes(void);
unsigned long heap_calls(void);
/* Where the oldest block that is left was allocated. */
void heap_describe(char *out, size_t size);
/* What is left is forgotten: said once. */
void heap_forget(void);
/* From here on the plugin's getrandom() gives the same bytes as after the last call of this. */
void random_again(void);
/* What it may hold in all, 1 GiB unless set; more it is not given, and this is told (NULL: nobody is). */
extern size_t heap_most;
extern void (*heap_over)(size_t size, size_t held);

#endif

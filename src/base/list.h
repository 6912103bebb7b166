/*
 * list.h - an intrusive doubly linked list, circular, with a head.
 * An entry is in at most one list per link; cw_list_remove() of a detached entry is harmless.
 */
#ifndef CW_BASE_LIST_H
#define CW_BASE_LIST_H

#include <stddef.h>

struct cw_list {
	struct cw_list *next, *prev;
};

static inline void cw_list_init(struct cw_list *l)
{
	l->next = l;
	l->prev = l;
}

static inline int cw_list_empty(const struct cw_list *l)
{
	return l->next == l || l->next == NULL;
}

static inline void cw_list_insert_between(struct cw_list *e, struct cw_list *prev, struct cw_list *next)
{
	e->prev = prev;
	e->next = next;
	prev->next = e;
	next->prev = e;
}

static inline void cw_list_push_back(struct cw_list *head, struct cw_list *e)
{
	cw_list_insert_between(e, head->prev, head);
}

static inline void cw_list_push_front(struct cw_list *head, struct cw_list *e)
{
	cw_list_insert_between(e, head, head->next);
}

static inline void cw_list_remove(struct cw_list *e)
{
	if (e->next == NULL)
		return;
	e->prev->next = e->next;
	e->next->prev = e->prev;
	cw_list_init(e);
}

/* First entry, or NULL when empty; stays in the list. */
static inline struct cw_list *cw_list_first(const struct cw_list *head)
{
	return cw_list_empty(head) ? NULL : head->next;
}

/* First entry taken out, or NULL when empty. */
static inline struct cw_list *cw_list_pop(struct cw_list *head)
{
	struct cw_list *e = cw_list_first(head);

	if (e != NULL)
		cw_list_remove(e);
	return e;
}

#define cw_list_each(e, head) for ((e) = (head)->next; (e) != (head); (e) = (e)->next)
#define cw_list_each_safe(e, n, head) for ((e) = (head)->next, (n) = (e)->next; (e) != (head); (e) = (n), (n) = (e)->next)

#endif

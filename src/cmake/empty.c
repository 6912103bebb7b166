/* empty.c - a shared library of archives needs a source of its own. */
typedef int cw_nothing;

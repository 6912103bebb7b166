/* replay.c - runs a fuzz target over every file of a folder, and over each cut off in its middle. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *path)
{
	static uint8_t buf[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n;
	uint8_t *copy;

	if (f == NULL)
		return;
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	copy = malloc(n + 1);
	if (copy == NULL)
		abort();
	for (size_t i = 0; i < n; i++)
		copy[i] = buf[i];
	(void)LLVMFuzzerTestOneInput(copy, n);
	(void)LLVMFuzzerTestOneInput(copy, n / 2);
	free(copy);
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	struct dirent *e;
	char path[4096];
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;

	if (d == NULL) {
		fprintf(stderr, "usage: replay FOLDER\n");
		return 2;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
		run_file(path);
		count++;
	}
	closedir(d);
	printf("%u files\n", count);
	return count > 0 ? 0 : 1;
}

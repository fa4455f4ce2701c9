/* `umiak image`: hands over to the confined umiak-image. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Where `umiak ctr` with the same variables looks; NULL: at umiak-image's own place. */
static char *store_option(void)
{
	const char *dir = getenv("UMIAK_IMAGES_DIR"), *root = getenv("UMIAK_ROOT");
	char *text = NULL;

	if (dir && *dir)
		return asprintf(&text, "--store=%s", dir) < 0 ? NULL : text;
	if (root && *root)
		return asprintf(&text, "--store=%s" UM_LOCALSTATEDIR "/lib/umiak/images", root) < 0
			       ? NULL
			       : text;
	return NULL;
}

/* An option of the command line comes behind, and wins. */
static int run(int argc, char **argv)
{
	const char *path = getenv("UMIAK_LIBEXEC");
	char program[4096], *store = store_option();
	char **args = calloc((size_t)argc + 2, sizeof(*args));
	int n = 0;

	if (!args)
		return UM_EXIT_FAILURE;
	args[n++] = argv[0];
	if (store)
		args[n++] = store;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	snprintf(program, sizeof(program), "%s/umiak-image", path ? path : UM_LIBEXECDIR);
	execv(program, args);
	fprintf(stderr, "umiak image: cannot run %s: %s\n", program, strerror(errno));
	free(args);
	free(store);
	return UM_EXIT_FAILURE;
}

const struct cli_verb cli_image = {"image", "import, list and remove images of this node", run};

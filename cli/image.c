/* `umiak image`: hands over to the confined umiak-image. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static int run(um_unused int argc, char **argv)
{
	const char *path = getenv("UMIAK_LIBEXEC");
	char program[4096];

	snprintf(program, sizeof(program), "%s/umiak-image", path ? path : UM_LIBEXECDIR);
	execv(program, argv);
	fprintf(stderr, "umiak image: cannot run %s: %s\n", program, strerror(errno));
	return UM_EXIT_FAILURE;
}

const struct cli_verb cli_image = {"image", "import, list and remove images of this node", run};

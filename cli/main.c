#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_verb *const verbs[] = {
	&cli_up, &cli_down, &cli_server, &cli_agent, &cli_image, &cli_ctr, &cli_run,
};

static void usage(FILE *f)
{
	fputs("usage: umiak VERB [options]\n"
	      "A container runtime and orchestrator on Linux primitives.\n\n",
	      f);
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++)
		fprintf(f, "  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n  --help, --version\n`umiak VERB --help` tells more of each.\n", f);
}

int main(int argc, char **argv)
{
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
		puts("umiak " PACKAGE_VERSION);
		return 0;
	}
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < UM_ARRAY_LEN(verbs); i++)
		if (!strcmp(argv[1], verbs[i]->name))
			return verbs[i]->run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "umiak: unknown verb \"%s\"\n", argv[1]);
	usage(stderr);
	return UM_EXIT_USAGE;
}

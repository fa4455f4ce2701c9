#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define HELP_WORDS_MAX 3

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
	fputs("  help         tell the options of a verb\n"
	      "  version      tell the version\n"
	      "\n  --help       tell this\n"
	      "  --version    tell the version\n"
	      "`umiak help VERB` tells more of each.\n",
	      f);
}

static const struct cli_verb *find(const char *name)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++)
		if (!strcmp(name, verbs[i]->name))
			return verbs[i];
	return NULL;
}

/* `umiak help VERB...` is `umiak VERB... --help`. */
static int help_of(int argc, char **argv)
{
	const struct cli_verb *verb = find(argv[0]);
	char *words[HELP_WORDS_MAX + 2] = {NULL};

	if (!verb || argc > HELP_WORDS_MAX) {
		fprintf(stderr, "umiak: unknown verb \"%s\"\n", argv[verb ? argc - 1 : 0]);
		return UM_EXIT_USAGE;
	}
	for (int i = 0; i < argc; i++)
		words[i] = argv[i];
	words[argc] = (char[]){"--help"};
	return verb->run(argc + 1, words);
}

int main(int argc, char **argv)
{
	const struct cli_verb *verb;

	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
		puts("umiak " PACKAGE_VERSION);
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "help") && argv[2][0] != '-')
		return help_of(argc - 2, argv + 2);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))) {
		usage(stdout);
		return 0;
	}
	verb = argc > 1 ? find(argv[1]) : NULL;
	if (verb)
		return verb->run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "umiak: unknown verb \"%s\"\n", argv[1]);
	usage(stderr);
	return UM_EXIT_USAGE;
}

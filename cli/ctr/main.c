/* `umiak ctr VERB`, and the verbs that people use most without the `ctr`. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/ctr/ctr.h"

static const struct ctr_verb *const verbs[] = {
	&ctr_verb_run,	  &ctr_verb_create, &ctr_verb_ps,      &ctr_verb_exec,	  &ctr_verb_logs,
	&ctr_verb_attach, &ctr_verb_start,  &ctr_verb_stop,    &ctr_verb_restart, &ctr_verb_kill,
	&ctr_verb_wait,	  &ctr_verb_rm,	    &ctr_verb_rename,  &ctr_verb_inspect, &ctr_verb_stats,
	&ctr_verb_cp,	  &ctr_verb_pause,  &ctr_verb_unpause, &ctr_verb_top,	  &ctr_verb_cleanup,
};

/* What users of Docker and Podman look for, and what is there for it. */
static const struct {
	const char *verb, *instead;
} elsewhere[] = {
	{"images", "umiak image list"},
	{"image", "umiak image"},
	{"load", "umiak image import"},
	{"import", "umiak image import"},
	{"rmi", "umiak image rm"},
	{"ls", "umiak ctr ps"},
	{"list", "umiak ctr ps"},
	{"pull", "umiak image import: pulling is not there yet"},
	{"port", "umiak ctr ps"},
	{"export", "umiak ctr cp CONTAINER:/ -"},
	{"build", NULL},
	{"commit", NULL},
	{"push", NULL},
	{"save", NULL},
	{"tag", NULL},
	{"login", NULL},
	{"logout", NULL},
	{"diff", NULL},
	{"events", NULL},
	{"history", NULL},
	{"info", NULL},
	{"network", NULL},
	{"volume", NULL},
	{"system", NULL},
	{"prune", NULL},
	{"update", NULL},
	{"compose", NULL},
	{"container", NULL},
	{"search", NULL},
	{"checkpoint", NULL},
};

static int unknown(const char *verb)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(elsewhere); i++) {
		if (strcmp(verb, elsewhere[i].verb))
			continue;
		if (elsewhere[i].instead)
			fprintf(stderr, "umiak ctr: there is no verb \"%s\": see `%s`\n", verb,
				elsewhere[i].instead);
		else
			fprintf(stderr, "umiak ctr: %s is not supported\n", verb);
		return UM_EXIT_USAGE;
	}
	fprintf(stderr, "umiak ctr: unknown verb \"%s\"\n", verb);
	return -1;
}

static void usage(FILE *f)
{
	fputs("Usage:  umiak ctr [--root DIR] VERB [OPTIONS]\n\n"
	      "Containers of this machine, without server or agent.\n\n",
	      f);
	for (size_t i = 0; i < UM_ARRAY_LEN(verbs); i++)
		fprintf(f, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n`umiak ctr VERB --help` tells more of each.\n", f);
}

static int run(int argc, char **argv)
{
	int at = 1;

	if (argc > 2 && !strcmp(argv[1], "--root")) {
		ctr_env.root = argv[2];
		at = 3;
	} else if (argc > 1 && !strncmp(argv[1], "--root=", 7)) {
		ctr_env.root = argv[1] + 7;
		at = 2;
	}
	if (at < argc && (!strcmp(argv[at], "--help") || !strcmp(argv[at], "help"))) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; at < argc && i < UM_ARRAY_LEN(verbs); i++)
		if (!strcmp(argv[at], verbs[i]->name))
			return ctr_run_verb(verbs[i], argc - at, argv + at);
	if (at < argc && unknown(argv[at]) >= 0)
		return UM_EXIT_USAGE;
	usage(stderr);
	return UM_EXIT_USAGE;
}

static int run_short(int argc, char **argv)
{
	return ctr_run_verb(&ctr_verb_run, argc, argv);
}

const struct cli_verb cli_ctr = {"ctr", "containers of this machine, without a server", run};
const struct cli_verb cli_run = {"run", "`ctr run`: a container of an image", run_short};

/* Snapshots by hand, for tests: rootfs_tool STORE VERB ...
 *
 *     find REF              prints the name, the digest and the number of layers
 *     mount REF ID TARGET
 *     throwaway REF ID TARGET   mounts it so that nothing waits for the disk
 *     release ID TARGET
 *     sweep [ID...]         keeps these
 */
#include <string.h>

#include "rootfs/rootfs.h"

static bool is_kept(void *arg, const char *id)
{
	for (char **ids = arg; *ids; ids++)
		if (!strcmp(*ids, id))
			return true;
	return false;
}

static int run(struct um_images *s, char **argv, int argc, struct um_arena *a, struct um_error *err)
{
	struct um_image img;
	int r;

	if (!strcmp(argv[0], "sweep"))
		return um_rootfs_sweep(s, is_kept, argv + 1, err);
	if (!strcmp(argv[0], "release") && argc == 3)
		return um_rootfs_release(s, argv[1], argv[2], err);
	if (argc < 2)
		return um_error_set(err, -EINVAL, "unknown verb");
	r = um_images_find(s, argv[1], a, &img, err);
	if (r < 0)
		return r;
	if ((!strcmp(argv[0], "mount") || !strcmp(argv[0], "throwaway")) && argc == 4)
		return um_rootfs_mount(s, &img, argv[2], argv[3], *argv[0] == 't', err);
	printf("%s %s %zu\n", img.name, img.digest, img.n_layers);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(um_images_closep) struct um_images *s = NULL;
	_cleanup_arena_ struct um_arena *a = um_arena_new(16 << 20);
	struct um_error err = UM_ERROR_INIT;
	int r;

	if (argc < 3 || !a)
		return 2;
	r = um_images_open(argv[1], &s, &err);
	if (r == 0)
		r = run(s, argv + 2, argc - 2, a, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.msg);
	return r < 0;
}

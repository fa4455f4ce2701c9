/* Copies of trees by descriptors only: nothing that either side holds can lead out of it, also
 * while somebody changes it. */
#ifndef UM_CLI_CTR_COPY_H
#define UM_CLI_CTR_COPY_H

#include "base/error.h"

enum {
	CTR_COPY_OWNERS = 1,  /* uid and gid of the source; else the caller's */
	CTR_COPY_DEVICES = 2, /* device nodes too; else they are refused */
};

/* Everything in the folder @from into the folder @to. Existing files are replaced, folders merged;
 * a folder never replaces something else, nor the other way round. */
um_must_check int ctr_copy_children(int from, int to, unsigned flags, struct um_error *err);
/* The entry @name of @from as @as into @to; links are copied as links. */
um_must_check int ctr_copy_entry(int from, const char *name, int to, const char *as, unsigned flags,
				 struct um_error *err);

/* The entry @name of the folder @dir, and all below it, as a tar stream; there it is @as. Sockets
 * are left out. */
um_must_check int ctr_archive_write(int dir, const char *name, const char *as, int out,
				    struct um_error *err);
/* Unpacks a tar stream in the folder @path of the root @root. Names lead nowhere out of the root,
 * whatever links are there or in the stream; ".." is refused. Existing files are replaced, as by
 * ctr_copy_children(). Reads to the end of @in. */
um_must_check int ctr_archive_read(int in, int root, const char *path, unsigned flags,
				   struct um_error *err);

#endif

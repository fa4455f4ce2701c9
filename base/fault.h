/* Fault points: places where a test can kill the process, as a crash would.
 *
 *     UM_FAULT("store.commit.before-fsync");
 *
 * Compiled in with --enable-fault-points, nothing otherwise. The environment picks one:
 * UMIAK_FAULT=<name>[:<n>] kills with SIGKILL at the n-th pass (first: 1);
 * UMIAK_FAULT_ONCE=<file> makes it happen once across restarts: the file is created first, and
 * where it exists already the point does nothing. The list of points is what a search of the
 * source for UM_FAULT finds. */
#ifndef UM_BASE_FAULT_H
#define UM_BASE_FAULT_H

#ifdef UM_FAULT_POINTS
void um_fault_point(const char *name);
#define UM_FAULT(name) um_fault_point(name)
#else
#define UM_FAULT(name) ((void)0)
#endif

#endif

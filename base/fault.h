/* Fault points: places where a test can kill the process, as a crash would.
 *
 *     UM_FAULT("store.commit.before-fsync");
 *
 * Compiled in with --enable-fault-points, nothing otherwise. The environment picks one:
 * UMIAK_FAULT=<name>[:<n>] kills with SIGKILL at the n-th pass (first: 1);
 * UMIAK_FAULT_ONCE=<file> makes it happen once, whatever inherits the environment or is started
 * again, and records it: the file then holds "!<name> <program>" (where it could not be mapped,
 * the point does nothing). The list of points is what a search of the source for UM_FAULT finds;
 * tests/lint/faults holds it against tests/fault-points.txt, and a full run of the tests fails
 * when one of them has killed nobody. A program that clears its environment meets no point.
 */
#ifndef UM_BASE_FAULT_H
#define UM_BASE_FAULT_H

#ifdef UM_FAULT_POINTS
void um_fault_point(const char *name);
#define UM_FAULT(name) um_fault_point(name)
#else
#define UM_FAULT(name) ((void)0)
#endif

#endif

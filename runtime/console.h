/* Terminals. */
#ifndef UM_RUNTIME_CONSOLE_H
#define UM_RUNTIME_CONSOLE_H

#include "runtime/rootfs.h"

/* Connects to the AF_UNIX socket at @path. */
um_must_check int um_console_connect(const char *path, int *ret, struct um_error *err);
/* In the container's namespaces, before pivot_root: makes a pty of its devpts, sends the master
 * over @socket_fd, makes the slave the controlling terminal and stdio, mounts it on /dev/console.
 * @relayed: um_console_relay() reads it, and its lines end as the program wrote them. */
um_must_check int um_console_init(struct um_rootfs *r, const struct um_spec_process *p,
				  int socket_fd, bool relayed, struct um_error *err);
/* The same for a process that has joined a container: @devpts_dir is its /dev/pts. */
um_must_check int um_console_setup(int devpts_dir, const struct um_spec_process *p, int socket_fd,
				   bool relayed, int *ret_slave, struct um_error *err);
um_must_check int um_console_become(int slave, struct um_error *err);
/* Receives a master sent by the above. */
um_must_check int um_console_receive(int socket_fd, int *ret_master, struct um_error *err);
/* Copies between stdin/stdout and @master until @done_fd becomes readable or the terminal closes.
 * The caller's terminal is in raw mode meanwhile; its size is passed on. */
um_must_check int um_console_relay(int master, int done_fd, struct um_error *err);

/* What is in the terminal of a program that came to nothing, to stdout. */
void um_console_drain(int master);
/* Sends @fd with @text, which is not empty, over a connected Unix socket. 0 or negative errno. */
int um_console_send_fd(int socket_fd, int fd, const char *text);
/* Connects to @path (NULL: nothing is asked for) and sends it a pidfd. @what: who asks. */
um_must_check int um_console_send_pidfd(const char *path, const char *what, int pidfd,
					struct um_error *err);

#endif

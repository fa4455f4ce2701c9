/* The store on an etcd that listens on 127.0.0.1:@port. Blocks until the mirror stands. */
#ifndef UM_TESTS_LIB_STORE_ETCD_H
#define UM_TESTS_LIB_STORE_ETCD_H

#include "store/store.h"

um_must_check int um_store_open_etcd(struct um_loop *l, int port, struct um_store **ret,
				     struct um_error *err);

#endif

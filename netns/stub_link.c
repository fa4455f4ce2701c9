#include "netns/netns.h"
int um_net_open(const struct um_net_config *c, struct um_net **r, struct um_error *e){(void)c;(void)r;return um_error_set(e,-EOPNOTSUPP,"none");}
void um_net_close(struct um_net *n){(void)n;}
int um_net_attach(struct um_net *n,const char*u,int f,struct um_net_pod*r,struct um_error*e){(void)n;(void)u;(void)f;(void)r;(void)e;return -1;}
int um_net_detach(struct um_net *n,const char*u,struct um_error*e){(void)n;(void)u;(void)e;return 0;}
int um_net_sweep(struct um_net *n,bool(*k)(void*,const char*),void*a,struct um_error*e){(void)n;(void)k;(void)a;(void)e;return 0;}

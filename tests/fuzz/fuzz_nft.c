/* Netlink answers about set elements: any bytes are taken or refused, within their bounds, and what
 * was taken leads to a state that can be brought to the wanted one. */
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>

#include "netns/services_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taking {
	struct um_services *s;
	unsigned n;
};

static int take(void *arg, const struct um_nft_elem *e)
{
	struct taking *t = arg;
	size_t sum = e->chain ? strlen(e->chain) : 0;

	for (size_t i = 0; i < e->key_len; i++)
		sum += e->key[i];
	for (size_t i = 0; i < e->data_len; i++)
		sum += e->data[i];
	if (sum == SIZE_MAX || t->n++ > 64)
		return 0;
	for (int set = 0; set < UM_SVC_SETS; set++) {
		int r = um_svc_take(t->s, (enum um_svc_set)set, e);

		if (r < 0 && r != -EBADMSG)
			return r;
	}
	return 0;
}

static void finish(struct um_services *s)
{
	struct um_svc_change c;
	bool lost;

	if (um_svc_take_end(s) < 0)
		abort();
	um_svc_change_init(&c);
	while (s->dirty) {
		struct um_svc_front *f = s->dirty;

		if (um_svc_diff(s, f, &c, &lost) < 0 || f->have.len || f->have_class)
			abort();
		s->dirty = f->next_dirty;
		um_svc_front_free(s, f);
	}
	um_svc_change_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct um_services *s = calloc(1, sizeof(*s));
	struct taking t = {s, 0};
	struct nlmsghdr *h;

	if (!s || size > 60000)
		abort();
	h = calloc(1, MNL_NLMSG_HDRLEN + size);
	s->classes = calloc(1, UM_SVC_CLASS_BYTES);
	if (!h || !s->classes)
		abort();
	memset(s->classes, 0xff, UM_SVC_CLASS_BYTES);
	pthread_mutex_init(&s->lock, NULL);
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_init(&s->strays[i], 1 << 20);
	um_buf_init(&s->lacking, 1 << 20);
	h->nlmsg_len = (uint32_t)(MNL_NLMSG_HDRLEN + size);
	memcpy((char *)h + MNL_NLMSG_HDRLEN, data, size);
	um_svc_take_begin(s);
	(void)!um_nft_elems(h, take, &t);
	finish(s);
	free(h);
	um_services_close(s);
	return 0;
}

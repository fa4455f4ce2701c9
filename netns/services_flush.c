/* From what is wanted to what the kernel has. */
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/fault.h"
#include "netns/host.h"
#include "netns/link.h"
#include "netns/rules.h"
#include "netns/services_priv.h"
#include "netns/veth.h"

/* A transaction has about this size: with 10,000 Services a few of them. */
#define CHUNK_BYTES (2u << 20)
#define TRIES 20

/* ---- from the kernel ---- */

int um_svc_route(struct um_services *s, bool *ret_added, struct um_error *err)
{
	_cleanup_(um_nl_closep) struct um_nl *nl = NULL;
	int lo = (int)if_nametoindex("lo"), r;

	if (lo <= 0)
		return um_error_errno(err, -errno, "find the link lo");
	r = um_nl_open(NETLINK_ROUTE, &nl, err);
	if (r == 0)
		r = um_host_check_routes(nl, "Service range", &s->services, lo, err);
	if (r < 0)
		return r;
	r = um_link_add_address(nl, lo, UM_VETH_GATEWAY, RT_SCOPE_LINK);
	if (r == 0 && s->local)
		r = um_link_add_address(nl, lo, s->local, RT_SCOPE_HOST);
	if (r < 0)
		return um_nl_fail(nl, err, r, "add the host's addresses for Services");
	r = um_host_has_route(nl, &s->services, lo, err);
	if (r < 0)
		return r;
	*ret_added = r == 0;
	if (r > 0)
		return 0;
	r = um_link_up(nl, lo);
	if (r == 0)
		r = um_link_add_route(nl, lo, s->services.base, s->services.prefix, 0);
	return r < 0 ? um_nl_fail(nl, err, r, "add the route of the Service range") : 0;
}

int um_svc_reread(struct um_services *s, bool *ret_loaded, struct um_error *err)
{
	int r = -EINTR;

	*ret_loaded = false;
	for (int i = 0; i < TRIES && r == -EINTR; i++) {
		r = um_svc_static_read(s, err);
		if (r == 0 && !s->st.sealed) {
			*ret_loaded = true;
			r = um_svc_static_load(s, err);
			UM_FAULT("services.loaded");
		}
		if (r < 0)
			return r;
		r = um_svc_read(s);
	}
	if (r < 0)
		return um_error_errno(err, r, "read the Services of table inet " UM_SVC_TABLE);
	s->reread = s->unverified = false;
	return 0;
}

/* Somebody had a transaction: whether our sets are the same and our rules as they were. */
static int look_again(struct um_services *s, struct um_error *err)
{
	uint64_t identity = s->st.identity;
	int r = um_svc_static_read(s, err);

	if (r < 0)
		return r;
	s->unverified = true;
	if (!s->st.sealed || s->st.identity != identity)
		s->reread = true;
	return 0;
}

/* ---- to the kernel ---- */

static void release_changep(struct um_svc_change *c)
{
	um_svc_change_release(c);
}

/* Deletions go first: an element that changes is deleted and added. */
static int send_change(struct um_services *s, const struct um_svc_change *c)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(UM_NFT_BATCH_MAX);
	int r;

	if (um_svc_change_bytes(c) == 0)
		return 0;
	um_nft_batch_begin(&b, s->generation);
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_nft_batch_elems(&b, NFT_MSG_DELSETELEM, UM_SVC_TABLE, um_svc_sets[i].name,
				   &c->del[i]);
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_nft_batch_elems(&b, NFT_MSG_NEWSETELEM, UM_SVC_TABLE, um_svc_sets[i].name,
				   &c->add[i]);
	UM_FAULT("services.before-batch");
	r = um_nft_batch_send(s->nft, &b);
	UM_FAULT("services.after-batch");
	if (r == 0)
		s->generation++;
	return r;
}

static int send_strays(struct um_services *s)
{
	_cleanup_(release_changep) struct um_svc_change c;
	int r;

	um_svc_change_init(&c);
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_add(&c.del[i], um_buf_str(&s->strays[i]), s->strays[i].len);
	um_buf_add(&c.add[UM_SVC_HAIRPIN], um_buf_str(&s->lacking), s->lacking.len);
	r = send_change(s, &c);
	if (r < 0)
		return r;
	for (int i = 0; i < UM_SVC_SETS; i++)
		um_buf_clear(&s->strays[i]);
	um_buf_clear(&s->lacking);
	return 0;
}

/* Notes what must be forgotten once the transaction is done. */
static int note_lost(struct um_services *s, const struct um_svc_front *f, bool lost, bool was_empty,
		     bool was_sticky)
{
	if (f->key.protocol == IPPROTO_UDP && !s->sweep && (lost || (was_empty && f->have.len)))
		if (um_vec_push(&s->stale, f->key) < 0)
			return -ENOMEM;
	if (was_sticky && (lost || !f->have_sec))
		s->forget = true;
	return 0;
}

/* Takes dirty fronts into one transaction until it is large enough. */
static int fill(struct um_services *s, struct um_svc_change *c)
{
	while (s->dirty && um_svc_change_bytes(c) < CHUNK_BYTES) {
		struct um_svc_front *f = s->dirty;
		bool was_sticky = f->have_sec > 0, was_empty = !f->have.len, lost = false;
		int r = um_svc_diff(s, f, c, &lost);

		if (r == 0)
			r = note_lost(s, f, lost, was_empty, was_sticky);
		if (r < 0)
			return r;
		s->dirty = f->next_dirty;
		f->next_dirty = NULL;
		f->dirty = false;
		if (!f->wanted)
			um_svc_front_free(s, f);
	}
	return 0;
}

static int send_dirty(struct um_services *s)
{
	int r = send_strays(s);

	while (r == 0 && s->dirty) {
		_cleanup_(release_changep) struct um_svc_change c;

		um_svc_change_init(&c);
		r = fill(s, &c);
		if (r == 0)
			r = send_change(s, &c);
	}
	return r;
}

/* Whether the kernel's refusal means that it holds something else than was thought. */
static bool is_surprise(int r)
{
	return r == -ENOENT || r == -EEXIST || r == -EBUSY || r == -ENOBUFS || r == -ENOMSG ||
	       r == -EINTR || r == -ERESTART || r == -EAGAIN;
}

/* One try. Surprises come back as they are, other failures with their text. */
static int try_flush(struct um_services *s, bool *healed, struct um_error *err)
{
	uint64_t identity;
	bool loaded = false;
	int r = 0;

	if (s->reread)
		r = um_svc_reread(s, &loaded, err);
	*healed |= loaded;
	if (r < 0)
		return r;
	identity = s->st.identity;
	r = um_svc_static_extend(s, err);
	if (r < 0)
		return r;
	if (s->st.identity != identity) {
		s->reread = true;
		return -ERESTART;
	}
	r = send_dirty(s);
	if (r == 0)
		return 0;
	/* What the diff noted as the kernel's was not taken. */
	s->reread = true;
	return is_surprise(r) ? r : um_error_errno(err, r, "send to table inet " UM_SVC_TABLE);
}

static bool has_work(const struct um_services *s)
{
	for (int i = 0; i < UM_SVC_SETS; i++)
		if (s->strays[i].len)
			return true;
	return s->dirty || s->reread || s->lacking.len || s->sweep || s->forget || s->stale.len;
}

static int flush(struct um_services *s, bool *healed, struct um_error *err)
{
	struct um_error e = UM_ERROR_INIT;
	uint32_t generation;
	int r;

	if (!has_work(s))
		return 0;
	r = um_nft_generation(s->nft, &generation);
	if (r < 0)
		return um_error_errno(err, r, "read the ruleset's generation");
	if (generation != s->generation && !s->reread) {
		r = look_again(s, err);
		if (r < 0)
			return r;
	}
	r = -ERESTART;
	for (int i = 0; i < TRIES && is_surprise(r) && e.code == 0; i++)
		r = try_flush(s, healed, &e);
	if (r < 0 && e.code == 0)
		return um_error_errno(err, r, "send to table inet " UM_SVC_TABLE);
	if (r < 0)
		return um_error_move(err, &e);
	UM_FAULT("services.sent");
	r = um_svc_forget_affinity(s, err);
	if (r == 0)
		r = um_svc_forget_connections(s, err);
	return r;
}

int um_services_flush(struct um_services *s, struct um_error *err)
{
	bool ignored = false;
	int r;

	pthread_mutex_lock(&s->lock);
	r = flush(s, &ignored, err);
	pthread_mutex_unlock(&s->lock);
	return r < 0 ? um_error_wrap(err, r, "Services") : 0;
}

/* Reads all; true in *healed when something was not as it was sent. */
static int verify(struct um_services *s, bool *healed, struct um_error *err)
{
	bool loaded;
	int r = um_svc_reread(s, &loaded, err);

	if (r < 0)
		return r;
	if (!loaded && !has_work(s))
		return 0;
	*healed = true;
	s->sweep = s->forget = true;
	return flush(s, healed, err);
}

static int check(struct um_services *s, bool *healed, struct um_error *err)
{
	uint32_t generation;
	int r = um_svc_route(s, healed, err);

	if (r == 0)
		r = flush(s, healed, err);
	if (r < 0)
		return r;
	r = um_nft_generation(s->nft, &generation);
	if (r < 0)
		return um_error_errno(err, r, "read the ruleset's generation");
	return generation == s->generation && !s->unverified ? 0 : verify(s, healed, err);
}

int um_services_check(struct um_services *s, bool *ret_healed, struct um_error *err)
{
	bool healed = false;
	int r;

	pthread_mutex_lock(&s->lock);
	r = check(s, &healed, err);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		return um_error_wrap(err, r, "Services");
	*ret_healed = healed;
	return 0;
}

int um_services_destroy(const struct um_services_config *cfg, struct um_error *err)
{
	_cleanup_(um_nl_closep) struct um_nl *nl = NULL;
	int lo = (int)if_nametoindex("lo"), r;
	struct um_range range;
	uint32_t local = 0;

	r = um_range_parse("Service range", cfg->service_range, &range, err);
	if (r == 0 && cfg->local_addr)
		r = um_range_parse_addr(cfg->local_addr, &local);
	if (r == 0)
		r = um_rules_run("add table inet " UM_SVC_TABLE "\ndelete table inet " UM_SVC_TABLE
				 "\n",
				 err);
	if (r == 0)
		r = um_nl_open(NETLINK_ROUTE, &nl, err);
	if (r == 0 && lo > 0) {
		r = um_link_delete_route(nl, lo, range.base, range.prefix);
		if (r == 0)
			r = um_link_delete_address(nl, lo, UM_VETH_GATEWAY);
		if (r == 0 && local)
			r = um_link_delete_address(nl, lo, local);
		if (r < 0)
			r = um_nl_fail(nl, err, r, "remove the route of the Service range");
	}
	return r < 0 ? um_error_wrap(err, r, "remove Services") : 0;
}

/* /metrics, in Prometheus' text form. */
#include <string.h>

#include "api/internal.h"

/* Upper bounds of the latency buckets; the last is +Inf. */
static const int64_t bounds_ms[] = {1, 5, 10, 25, 100, 500, 2500};

void um_metrics_note(struct um_areq *rq, int code)
{
	struct um_metrics *m = &rq->api->metrics;
	unsigned verb = rq->rt.kind ? rq->rt.verb : UM_VERB_COUNT, b = 0;
	int64_t ns = um_loop_now(rq->api->loop) - rq->started_ns;

	m->requests[verb][code / 100 <= 5 ? code / 100 : 5]++;
	while (b < UM_ARRAY_LEN(bounds_ms) && ns > bounds_ms[b] * UM_NSEC_PER_MSEC)
		b++;
	m->buckets[verb][b]++;
	m->sum_ns[verb] += ns;
}

static const char *verb_name(unsigned v)
{
	return v < UM_VERB_COUNT ? um_verb_names[v] : "none";
}

static void requests(const struct um_metrics *m, struct um_buf *b)
{
	um_buf_adds(b, "# TYPE umiak_api_requests_total counter\n");
	for (unsigned v = 0; v <= UM_VERB_COUNT; v++)
		for (unsigned c = 1; c < 6; c++)
			if (m->requests[v][c])
				um_buf_addf(b,
					    "umiak_api_requests_total{verb=\"%s\",code=\"%uxx\"} "
					    "%lld\n",
					    verb_name(v), c, (long long)m->requests[v][c]);
	um_buf_adds(b, "# TYPE umiak_api_request_seconds histogram\n");
	for (unsigned v = 0; v <= UM_VERB_COUNT; v++) {
		int64_t sum = 0;

		for (unsigned i = 0; i <= UM_ARRAY_LEN(bounds_ms); i++) {
			sum += m->buckets[v][i];
			um_buf_addf(b, "umiak_api_request_seconds_bucket{verb=\"%s\",le=\"",
				    verb_name(v));
			if (i < UM_ARRAY_LEN(bounds_ms))
				um_buf_addf(b, "%g", (double)bounds_ms[i] / 1000);
			else
				um_buf_adds(b, "+Inf");
			um_buf_addf(b, "\"} %lld\n", (long long)sum);
		}
		um_buf_addf(b,
			    "umiak_api_request_seconds_sum{verb=\"%s\"} %.6f\n"
			    "umiak_api_request_seconds_count{verb=\"%s\"} %lld\n",
			    verb_name(v), (double)m->sum_ns[v] / 1e9, verb_name(v), (long long)sum);
	}
}

static void store(struct um_store *s, const char *name, struct um_buf *b)
{
	struct um_store_stats st;
	struct {
		const char *name, *type;
		int64_t v;
	} rows[8];
	size_t n = 0;

	um_store_get_stats(s, &st);
#define ROW(label, kind, value)                                                                    \
	(rows[n].name = (label), rows[n].type = (kind), rows[n].v = (value), n++)
	ROW("keys", "gauge", st.keys);
	ROW("value_bytes", "gauge", st.value_bytes);
	ROW("commits_total", "counter", st.commits);
	ROW("ops_total", "counter", st.ops);
	ROW("fsyncs_total", "counter", st.fsyncs);
	ROW("watches", "gauge", st.watches);
	ROW("full", "gauge", st.full);
	ROW("revision", "gauge", um_store_rev(s));
#undef ROW
	for (size_t i = 0; i < n; i++)
		um_buf_addf(b, "umiak_store_%s{store=\"%s\"} %lld\n", rows[i].name, name,
			    (long long)rows[i].v);
}

void um_handle_metrics(struct um_areq *rq)
{
	struct um_api *api = rq->api;
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);

	requests(&api->metrics, &b);
	store(api->o.durable, "durable", &b);
	store(api->o.volatile_, "volatile", &b);
	um_buf_addf(&b, "# TYPE umiak_api_watchers gauge\numiak_api_watchers %u\n",
		    api->n_watchers);
	um_buf_addf(&b,
		    "# TYPE umiak_api_watch_events_total counter\n"
		    "umiak_api_watch_events_total %lld\n",
		    (long long)api->metrics.watch_events);
	um_buf_addf(&b,
		    "# TYPE umiak_loop_lag_seconds gauge\numiak_loop_lag_seconds %.6f\n"
		    "# TYPE umiak_loop_lag_max_seconds gauge\numiak_loop_lag_max_seconds %.6f\n",
		    (double)api->metrics.lag_ns / 1e9, (double)api->metrics.lag_max_ns / 1e9);
	if (api->o.metrics)
		api->o.metrics(api->o.arg, &b);
	um_answer_text(rq, 200, "text/plain; version=0.0.4; charset=utf-8", um_buf_str(&b), b.len);
}

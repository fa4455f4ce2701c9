/* What Services cost; run by bench/services in a network namespace whose `lo` has 192.0.2.1.
 * Prints lines "<name> <value> <unit>". */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "netns/services.h"

#define SERVICES 10000
#define ENDPOINTS 10
#define CHANGES 1000
#define CONNECTS 1500
#define ROUNDS 9
#define VIP_BASE 0x0a600100u /* 10.96.1.0 */
#define PORT 8080

static void check(int r, const struct um_error *err)
{
	if (r < 0) {
		fprintf(stderr, "services_bench: %s\n", err->msg);
		exit(UM_EXIT_FAILURE);
	}
}

static double now_us(void)
{
	return (double)um_clock_monotonic(&um_clock_system) / 1000;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double quantile(double *v, size_t n, double q)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(size_t)((double)(n - 1) * q)];
}

/* Service @i with @n endpoints; @shift makes the last one another. Service 0's are the server. */
static void set_service(struct um_services *s, unsigned i, unsigned n, unsigned shift)
{
	struct um_service_endpoint e[ENDPOINTS + 1];
	struct um_service_port p = {
		.protocol = IPPROTO_TCP, .port = 80, .endpoints = e, .n_endpoints = n};
	struct um_error err = UM_ERROR_INIT;
	char key[40];

	p.vip.s_addr = htonl(VIP_BASE + i);
	for (unsigned j = 0; j < n; j++) {
		e[j].addr.s_addr =
			htonl(i ? 0x0af40001u + (i * ENDPOINTS + j) % 65000 : 0xc0000201u);
		e[j].port = (uint16_t)(i ? PORT + (j == n - 1 ? shift : 0) : PORT + j);
	}
	snprintf(key, sizeof(key), "bench/s%u", i);
	check(um_services_set(s, key, &p, 1, &err), &err);
}

static void set_all(struct um_services *s, bool wanted)
{
	char key[40];

	for (unsigned i = 1; i < SERVICES; i++) {
		snprintf(key, sizeof(key), "bench/s%u", i);
		if (wanted)
			set_service(s, i, ENDPOINTS, 0);
		else
			um_services_remove(s, key);
	}
}

static double timed_flush(struct um_services *s, double since)
{
	struct um_error err = UM_ERROR_INIT;

	check(um_services_flush(s, &err), &err);
	return now_us() - since;
}

static void changes(struct um_services *s, const char *name, bool count)
{
	static double v[CHANGES];

	for (unsigned k = 0; k < CHANGES; k++) {
		/* Each a Service of its own; for the count, one less and then one more. */
		unsigned i = count ? 3 + k / 2 * 7 : 1 + k * 7;
		double began = now_us();

		set_service(s, i, count && k % 2 == 0 ? ENDPOINTS - 1 : ENDPOINTS, !count);
		v[k] = timed_flush(s, began);
	}
	printf("%s_p50 %.1f us\n", name, quantile(v, CHANGES, 0.5));
	printf("%s_p99 %.1f us\n", name, quantile(v, CHANGES, 0.99));
}

static void *serve(void *arg)
{
	int fd = *(int *)arg;

	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0)
			return NULL;
		close(c); /* the client resets: nothing is left in TIME_WAIT */
	}
}

static void start_server(unsigned i)
{
	static int fds[ENDPOINTS];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(PORT + i))};
	pthread_t t;

	fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = htonl(0xc0000201u);
	if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fds[i], 4096) < 0 || pthread_create(&t, NULL, serve, &fds[i]) != 0) {
		perror("services_bench: server");
		exit(UM_EXIT_FAILURE);
	}
	pthread_detach(t);
}

/* Median time of a connect(2) to Service 0. */
static double connects(void)
{
	static double v[CONNECTS];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};

	a.sin_addr.s_addr = htonl(VIP_BASE);
	for (unsigned k = 0; k < CONNECTS; k++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct linger now = {1, 0};
		double began = now_us();

		if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
			perror("services_bench: connect");
			exit(UM_EXIT_FAILURE);
		}
		v[k] = now_us() - began;
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
	}
	return quantile(v, CONNECTS, 0.5);
}

int main(void)
{
	struct um_services_config cfg = {.service_range = "10.96.0.0/16",
					 .pod_range = "10.244.0.0/16",
					 .node_range = "10.244.7.0/24"};
	double load[ROUNDS], one[ROUNDS], many[ROUNDS], ratio[ROUNDS], began;
	struct um_error err = UM_ERROR_INIT;
	bool healed;
	_cleanup_(um_services_closep) struct um_services *s = NULL;

	for (unsigned i = 0; i < ENDPOINTS; i++)
		start_server(i);
	check(um_services_open(&cfg, &s, &err), &err);
	set_service(s, 0, ENDPOINTS, 0);
	timed_flush(s, 0);
	(void)connects();
	for (int i = 0; i < ROUNDS; i++) {
		one[i] = connects();
		began = now_us();
		set_all(s, true);
		load[i] = timed_flush(s, began);
		many[i] = connects();
		ratio[i] = many[i] / one[i];
		if (i == ROUNDS - 1)
			break;
		set_all(s, false);
		timed_flush(s, 0);
	}
	printf("program_first %.1f us\n", load[0]);
	printf("program_p50 %.1f us\n", quantile(load, ROUNDS, 0.5));
	changes(s, "replace", false);
	changes(s, "count", true);
	printf("connect_one %.2f us\n", quantile(one, ROUNDS, 0.5));
	printf("connect_many %.2f us\n", quantile(many, ROUNDS, 0.5));
	printf("connect_ratio %.3f x\n", quantile(ratio, ROUNDS, 0.5));
	um_services_close(TAKE_PTR(s));
	began = now_us();
	check(um_services_open(&cfg, &s, &err), &err);
	printf("restart_read %.1f us\n", now_us() - began);
	set_service(s, 0, ENDPOINTS, 0);
	set_all(s, true);
	timed_flush(s, 0);
	began = now_us();
	check(um_services_check(s, &healed, &err), &err);
	printf("check_quiet %.1f us\n", now_us() - began);
	return UM_EXIT_OK;
}

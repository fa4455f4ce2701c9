/* udp-name PORT: answers each datagram with the host's name. Linked statically, for pods. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	char text[256], name[256] = "";
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 2 || s < 0)
		return 1;
	addr.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return 1;
	gethostname(name, sizeof(name) - 1);
	for (;;) {
		socklen_t len = sizeof(addr);

		if (recvfrom(s, text, sizeof(text), 0, (struct sockaddr *)&addr, &len) >= 0)
			sendto(s, name, strlen(name), 0, (struct sockaddr *)&addr, len);
	}
}

/* Somebody else on the air of an emulated board: a phone, or an access point.
 *
 * The tests put this program where the board keeps wpa_supplicant. Started as that, it starts the
 * real one in its place, and beside it, once, takes the second simulated radio into a network
 * namespace of its own. What it sees there it says on the console, in lines that begin with
 * "neighbour:". /etc/neighbour holds three lines: "phone" or "point", a network's name, its
 * passphrase. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/nl80211.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL "/usr/sbin/wpa_supplicant.real"
#define RADIO "wlan1"
#define CONFIG "/tmp/neighbour.conf"

static void say(const char *format, ...)
{
	va_list list;
	printf("neighbour: ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
}

static int word_in(const char *path)
{
	char text[32] = "";
	int file = open(path, O_RDONLY);
	if (file < 0 || read(file, text, sizeof text - 1) <= 0)
		return -1;
	close(file);
	return atoi(text);
}

/* One request of generic netlink with two numbers in it; the answer is left in `reply`. */
static int ask(int netlink, int family, int command, const struct nlattr *attrs, int length,
	       char *reply, int room)
{
	struct {
		struct nlmsghdr head;
		struct genlmsghdr generic;
		char attrs[256];
	} message;
	memset(&message, 0, sizeof message);
	message.head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN) + length;
	message.head.nlmsg_type = family;
	message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message.generic.cmd = command;
	message.generic.version = 1;
	memcpy(message.attrs, attrs, length);
	if (send(netlink, &message, message.head.nlmsg_len, 0) < 0)
		return -errno;
	int got = recv(netlink, reply, room, 0);
	const struct nlmsghdr *head = (const void *)reply;
	if (got < (int)sizeof *head)
		return -EIO;
	if (head->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
	return got;
}

static int nl80211_family(int netlink)
{
	char attrs[64] = {0}, reply[8192];
	struct nlattr *name = (void *)attrs;
	name->nla_type = CTRL_ATTR_FAMILY_NAME;
	name->nla_len = NLA_HDRLEN + sizeof NL80211_GENL_NAME;
	strcpy(attrs + NLA_HDRLEN, NL80211_GENL_NAME);
	int got = ask(netlink, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name, NLA_ALIGN(name->nla_len), reply,
		      sizeof reply);
	for (int at = NLMSG_LENGTH(GENL_HDRLEN); at + NLA_HDRLEN < got;) {
		const struct nlattr *attr = (const void *)(reply + at);
		if ((attr->nla_type & NLA_TYPE_MASK) == CTRL_ATTR_FAMILY_ID)
			return *(const unsigned short *)(reply + at + NLA_HDRLEN);
		at += NLA_ALIGN(attr->nla_len) ? NLA_ALIGN(attr->nla_len) : 4;
	}
	return -1;
}

/* Moves a radio into the namespace this process has entered since `netlink` was opened. */
static int take(int netlink, int family, int radio)
{
	struct {
		struct nlattr one;
		unsigned radio;
		struct nlattr two;
		unsigned process;
	} attrs = {
		{NLA_HDRLEN + 4, NL80211_ATTR_WIPHY}, radio, {NLA_HDRLEN + 4, NL80211_ATTR_PID}, getpid(),
	};
	char reply[8192];
	/* The acknowledgement of the request before may still lie there. */
	while (recv(netlink, reply, sizeof reply, MSG_DONTWAIT) > 0)
		;
	return ask(netlink, family, NL80211_CMD_SET_WIPHY_NETNS, &attrs.one, sizeof attrs, reply,
		   sizeof reply);
}

static int interface(int request, struct ifreq *what)
{
	int any = socket(AF_INET, SOCK_DGRAM, 0);
	strcpy(what->ifr_name, RADIO);
	int result = ioctl(any, request, what);
	close(any);
	return result;
}

static void set_address(in_addr_t address)
{
	struct ifreq what = {0};
	struct sockaddr_in *to = (void *)&what.ifr_addr;
	to->sin_family = AF_INET;
	to->sin_addr.s_addr = address;
	interface(SIOCSIFADDR, &what);
	to->sin_addr.s_addr = htonl(0xffffff00);
	interface(SIOCSIFNETMASK, &what);
}

static int running(void)
{
	struct ifreq what = {0};
	return interface(SIOCGIFFLAGS, &what) == 0 && (what.ifr_flags & IFF_RUNNING);
}

static const unsigned char *option(const unsigned char *packet, int length, int wanted)
{
	for (int at = 240; at + 1 < length && packet[at] != 255;) {
		if (packet[at] == 0)
			at++;
		else if (packet[at] == wanted)
			return packet + at + 2;
		else
			at += 2 + packet[at + 1];
	}
	return NULL;
}

/* Asks for an address as RFC 2131 has it; the router's is left in `router`. */
static in_addr_t lease(in_addr_t *router)
{
	struct ifreq mac = {0};
	int udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct timeval second = {1, 0};
	struct sockaddr_in at = {AF_INET, htons(68), {0}, {0}};
	struct sockaddr_in to = {AF_INET, htons(67), {INADDR_BROADCAST}, {0}};
	setsockopt(udp, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
	setsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, RADIO, sizeof RADIO);
	setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	bind(udp, (void *)&at, sizeof at);
	interface(SIOCGIFHWADDR, &mac);
	in_addr_t offered = 0, server = 0;
	for (int attempt = 0; attempt < 30; attempt++) {
		unsigned char packet[600] = {1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0};
		int length = 243;
		memcpy(packet + 28, mac.ifr_hwaddr.sa_data, 6);
		memcpy(packet + 236, "\x63\x82\x53\x63\x35\x01", 6);
		packet[242] = offered ? 3 : 1;
		if (offered) {
			packet[length] = 50, packet[length + 1] = 4;
			memcpy(packet + length + 2, &offered, 4);
			packet[length + 6] = 54, packet[length + 7] = 4;
			memcpy(packet + length + 8, &server, 4);
			length += 12;
		}
		packet[length] = 255;
		sendto(udp, packet, 300, 0, (void *)&to, sizeof to);
		length = recv(udp, packet, sizeof packet, 0);
		if (length < 244 || packet[0] != 2)
			continue;
		const unsigned char *kind = option(packet, length, 53);
		const unsigned char *from = option(packet, length, 54), *via = option(packet, length, 3);
		if (kind && *kind == 2 && from) {
			memcpy(&offered, packet + 16, 4);
			memcpy(&server, from, 4);
		} else if (kind && *kind == 5 && via) {
			memcpy(router, via, 4);
			close(udp);
			return offered;
		}
	}
	return 0;
}

/* The first line of the answer to a request. */
static void fetch(in_addr_t host, int port, const char *name, const char *path)
{
	char text[512] = "", request[256];
	struct timeval patience = {20, 0};
	struct sockaddr_in to = {AF_INET, htons(port), {host}, {0}};
	int tcp = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(tcp, (void *)&to, sizeof to) == 0) {
		snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
			 path, name);
		send(tcp, request, strlen(request), 0);
		recv(tcp, text, sizeof text - 1, 0);
	}
	close(tcp);
	text[strcspn(text, "\r\n")] = 0;
	say("port %d %s: %s", port, path, *text ? text : "no answer");
}

/* RFC 1035: asks the router for the address of a name. */
static void resolve(in_addr_t server)
{
	static const unsigned char question[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0"
						"\x07""example\x03""org\0\0\x01\0\x01";
	unsigned char answer[512];
	struct timeval patience = {5, 0};
	struct sockaddr_in to = {AF_INET, htons(53), {server}, {0}};
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	sendto(udp, question, sizeof question - 1, 0, (void *)&to, sizeof to);
	int length = recv(udp, answer, sizeof answer, 0);
	close(udp);
	if (length < 16 || answer[7] == 0)
		say("name: no answer");
	else
		say("name: %d.%d.%d.%d", answer[length - 4], answer[length - 3], answer[length - 2],
		    answer[length - 1]);
}

static void phone(void)
{
	in_addr_t router = 0;
	for (int tenth = 0; !running() && tenth < 1800; tenth++)
		usleep(100000);
	if (!running()) {
		say("not on the network");
		return;
	}
	say("on the network");
	in_addr_t address = lease(&router);
	if (!address) {
		say("no address");
		return;
	}
	struct in_addr text = {address};
	say("address %s", inet_ntoa(text));
	text.s_addr = router;
	say("router %s", inet_ntoa(text));
	set_address(address);
	resolve(router);
	fetch(router, 80, "connectivitycheck.gstatic.com", "/generate_204");
	fetch(router, 1936, inet_ntoa(text), "/claim");
	say("done");
}

static void beside(void)
{
	char kind[16], name[64], passphrase[80];
	FILE *order = fopen("/etc/neighbour", "r");
	if (!order || fscanf(order, "%15[^\n]\n%63[^\n]\n%79[^\n]", kind, name, passphrase) != 3) {
		say("nothing to do");
		return;
	}
	fclose(order);
	int point = strcmp(kind, "point") == 0, radio = -1;
	for (int tenth = 0; radio < 0 && tenth < 300; tenth++) {
		radio = word_in("/sys/class/net/" RADIO "/phy80211/index");
		if (radio < 0)
			usleep(100000);
	}
	int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	int family = nl80211_family(netlink);
	if (unshare(CLONE_NEWNET) != 0) {
		say("no namespace: %s", strerror(errno));
		return;
	}
	int result = take(netlink, family, radio);
	if (result < 0) {
		say("radio %d, family %d: %s", radio, family, strerror(-result));
		return;
	}
	FILE *config = fopen(CONFIG, "w");
	if (!config) {
		say("no configuration: %s", strerror(errno));
		return;
	}
	fprintf(config, "network={\nssid=\"%s\"\npsk=\"%s\"\nkey_mgmt=WPA-PSK\n%s}\n", name, passphrase,
		point ? "mode=2\nfrequency=2437\nproto=RSN\npairwise=CCMP\n" : "scan_ssid=1\n");
	fclose(config);
	if (fork() == 0) {
		execl(REAL, "wpa_supplicant", "-i", RADIO, "-D", "nl80211", "-c", CONFIG, "-qq", NULL);
		_exit(127);
	}
	if (point) {
		for (int tenth = 0; !running() && tenth < 300; tenth++)
			usleep(100000);
		set_address(htonl(0xc0a83201));
		say(running() ? "access point up" : "access point down");
	} else {
		phone();
	}
	for (;;)
		pause();
}

int main(int count, char **words)
{
	(void)count;
	int first = open("/run/neighbour", O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (first >= 0 && fork() == 0) {
		setsid();
		int console = open("/dev/console", O_WRONLY | O_NOCTTY);
		dup2(console, 1);
		dup2(console, 2);
		beside();
		_exit(0);
	}
	words[0] = "wpa_supplicant";
	execv(REAL, words);
	return 127;
}

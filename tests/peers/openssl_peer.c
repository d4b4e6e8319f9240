/* A server of many threads and a client of many connections on OpenSSL's C interface:
 *
 *   openssl_peer server ADDRESS PORT VERSION CA CHAIN KEY THREADS
 *   openssl_peer client ADDRESS PORT VERSION CA CONNECTIONS THREADS [CHAIN KEY]...
 *
 * VERSION is 1.2 or 1.3. The server insists on a client certificate. Connection n of the client shows certificate n modulo
 * their number; with as many threads as connections, all are connected before the first handshake begins. The client
 * prints one line of JSON: whether all were answered, and [local port, number of the certificate] of each connection in
 * the order in which they were made. Linked statically and stripped it shows nothing to who looks at libraries.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST "GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n"
#define RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
#define STACK_BYTES (256 * 1024)

static struct sockaddr_in address;
static pthread_barrier_t all_connected;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL_CTX *context(int server, const char *version, const char *ca, const char *chain, const char *key)
{
	SSL_CTX *made = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	int number = strcmp(version, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
	int verify = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

	if (!made || !SSL_CTX_set_min_proto_version(made, number) || !SSL_CTX_set_max_proto_version(made, number))
		fail("TLS context");
	if (!SSL_CTX_load_verify_locations(made, ca, NULL))
		fail(ca);
	if (chain && (SSL_CTX_use_certificate_chain_file(made, chain) != 1 ||
		      SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1))
		fail(chain);
	SSL_CTX_set_verify(made, verify, NULL);
	SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
	return made;
}

/* Reads until the text has come, or the end. */
static int read_until(SSL *ssl, const char *end)
{
	char text[4096];
	size_t length = 0;

	while (length < sizeof(text) - 1) {
		int count = SSL_read(ssl, text + length, (int)(sizeof(text) - 1 - length));
		if (count <= 0)
			return 0;
		length += (size_t)count;
		text[length] = 0;
		if (strstr(text, end))
			return 1;
	}
	return 0;
}

struct serving {
	int listener;
	SSL_CTX *context;
};

static void *serve(void *argument)
{
	struct serving *serving = argument;

	for (;;) {
		int fd = accept(serving->listener, NULL, NULL);
		if (fd < 0)
			continue;
		SSL *ssl = SSL_new(serving->context);
		SSL_set_fd(ssl, fd);
		if (SSL_accept(ssl) == 1 && read_until(ssl, "\r\n\r\n")) {
			SSL_write(ssl, RESPONSE, (int)strlen(RESPONSE));
			SSL_shutdown(ssl);
		}
		SSL_free(ssl);
		close(fd);
		ERR_clear_error();
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*work)(void *), void *argument)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (pthread_create(thread, &attributes, work, argument))
		fail("thread");
}

static int server(char **arguments)
{
	struct serving serving = { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), NULL };
	int threads = atoi(arguments[4]), on = 1;
	pthread_t thread;

	serving.context = context(1, arguments[0], arguments[1], arguments[2], arguments[3]);
	setsockopt(serving.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(serving.listener, (struct sockaddr *)&address, sizeof(address)) || listen(serving.listener, 4096))
		fail("listen");
	while (threads--)
		start(&thread, serve, &serving);
	pthread_join(thread, NULL);
	return 0;
}

static struct {
	pthread_mutex_t lock;
	SSL_CTX **contexts;
	int identities, connections, threads, next, answered;
	unsigned short *ports;
} crowd = { .lock = PTHREAD_MUTEX_INITIALIZER, .answered = 1 };

static int exchange(SSL *ssl, int fd)
{
	SSL_set_fd(ssl, fd);
	SSL_set_tlsext_host_name(ssl, "server.test");
	SSL_set1_host(ssl, "server.test");
	if (SSL_connect(ssl) != 1 || SSL_write(ssl, REQUEST, (int)strlen(REQUEST)) <= 0)
		return 0;
	int answered = read_until(ssl, "200 ");
	/* The server closes first. */
	read_until(ssl, "never");
	return answered;
}

static void *connect_some(void *unused)
{
	for (;;) {
		struct sockaddr_in own;
		socklen_t length = sizeof(own);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

		/* The request does not wait until the handshake's last flight is acknowledged. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		/* Under the lock, so that the order of the numbers is the order in time. */
		pthread_mutex_lock(&crowd.lock);
		int number = crowd.next;
		if (number == crowd.connections) {
			pthread_mutex_unlock(&crowd.lock);
			close(fd);
			return unused;
		}
		crowd.next++;
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
		    getsockname(fd, (struct sockaddr *)&own, &length))
			fail("connect");
		crowd.ports[number] = ntohs(own.sin_port);
		pthread_mutex_unlock(&crowd.lock);
		if (crowd.threads == crowd.connections)
			pthread_barrier_wait(&all_connected);
		SSL *ssl = SSL_new(crowd.contexts[number % crowd.identities]);
		if (!exchange(ssl, fd)) {
			ERR_print_errors_fp(stderr);
			pthread_mutex_lock(&crowd.lock);
			crowd.answered = 0;
			pthread_mutex_unlock(&crowd.lock);
		}
		SSL_free(ssl);
		close(fd);
		ERR_clear_error();
		if (crowd.threads == crowd.connections)
			return unused;
	}
}

static int client(int count, char **arguments)
{
	crowd.connections = atoi(arguments[2]);
	crowd.threads = atoi(arguments[3]);
	int pairs = (count - 4) / 2;
	crowd.identities = pairs ? pairs : 1;
	crowd.ports = calloc((size_t)crowd.connections, sizeof(*crowd.ports));
	crowd.contexts = calloc((size_t)crowd.identities, sizeof(*crowd.contexts));
	pthread_t *threads = calloc((size_t)crowd.threads, sizeof(*threads));
	if (!crowd.ports || !crowd.contexts || !threads)
		fail("memory");
	for (int n = 0; n < crowd.identities; n++)
		crowd.contexts[n] = context(0, arguments[0], arguments[1], pairs ? arguments[4 + 2 * n] : NULL,
					    pairs ? arguments[5 + 2 * n] : NULL);
	pthread_barrier_init(&all_connected, NULL, (unsigned)crowd.threads);
	for (int n = 0; n < crowd.threads; n++)
		start(&threads[n], connect_some, NULL);
	for (int n = 0; n < crowd.threads; n++)
		pthread_join(threads[n], NULL);
	printf("{\"answered\":%s,\"connections\":[", crowd.answered ? "true" : "false");
	for (int n = 0; n < crowd.connections; n++)
		printf("%s[%d,%d]", n ? "," : "", crowd.ports[n], n % crowd.identities);
	puts("]}");
	return 0;
}

int main(int count, char **arguments)
{
	if (count < 8)
		fail("arguments");
	signal(SIGPIPE, SIG_IGN);
	address.sin_family = AF_INET;
	address.sin_port = htons((unsigned short)atoi(arguments[3]));
	if (inet_pton(AF_INET, arguments[2], &address.sin_addr) != 1)
		fail(arguments[2]);
	return strcmp(arguments[1], "server") ? client(count - 4, arguments + 4) : server(arguments + 4);
}

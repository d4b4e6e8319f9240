/* For each line that it reads it prints two numbers: the processor time, in nanoseconds, of a round of the calls that
 * OpenSSL makes in a handshake and that the agent probes, and of a receive from a TCP socket that has nothing. The calls are
 * refused as early as they can be: what matters is how much longer they take with probes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 2000
#define RECEIVES 20000
/* The shortest of these counts: what else the machine does only makes them longer. */
#define TRIES 60

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Its other end stays open. */
static int connected(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *)&address, &length)
        || connect(client, (struct sockaddr *)&address, length) || accept(listener, NULL, NULL) < 0) {
        perror("no connection");
        exit(1);
    }
    return client;
}

static X509_STORE_CTX *context;

static void handshake(void) {
    const unsigned char nothing[1] = {0}, *der = nothing;
    d2i_X509(NULL, &der, 0);
    i2d_X509(NULL, NULL);
    X509_STORE_CTX_set_default(context, "not a name");
    X509_verify_cert(context);
    X509_STORE_CTX_get_error(context);
}

static int receiver;

static void receive(void) {
    char byte;
    recv(receiver, &byte, 1, MSG_DONTWAIT);
}

static double least(void (*call)(void), int count) {
    double least = 1e18;
    for (int attempt = 0; attempt < TRIES; attempt++) {
        double begun = now();
        for (int number = 0; number < count; number++)
            call();
        double each = (now() - begun) / count;
        least = each < least ? each : least;
    }
    return least;
}

int main(void) {
    char line[64];
    receiver = connected();
    context = X509_STORE_CTX_new();
    if (!context)
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        printf("%f %f\n", least(handshake, ROUNDS), least(receive, RECEIVES));
        fflush(stdout);
    }
    return 0;
}

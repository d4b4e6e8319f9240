/* Processes whose connections have a known owner: `owners MANNER ADDRESS PORT ARGUMENTS...`.
 *
 * Each connection is one line on standard output, by whoever made it: `client LOCAL_PORT PID START PATH`. PID and START are
 * what the `/proc` of the host says of it, so that they are the host's in a PID namespace, too; PATH is that of the program
 * it runs. The server of all manners is elsewhere; it answers each request and closes.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char request[] = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
static struct sockaddr_in target;
static const char *address, *port;
static char path[4096];

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

/* Field 22 of /proc/self/stat; the name before it may have spaces. */
static unsigned long long start_of_self(void)
{
	char text[2048];
	int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(file, text, sizeof text - 1);
	close(file);
	if (length <= 0)
		fail("stat");
	text[length] = 0;
	char *field = strrchr(text, ')');
	for (int number = 2; field && number < 22; number++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field + 1, NULL, 10) : 0;
}

static int connected(void)
{
	int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream < 0 || connect(stream, (struct sockaddr *)&target, sizeof target))
		fail("connect");
	return stream;
}

/* The pid as the mounted /proc has it. */
static void say(int stream)
{
	char line[8192], pid[32] = "";
	struct sockaddr_in own;
	socklen_t size = sizeof own;
	if (getsockname(stream, (struct sockaddr *)&own, &size) || readlink("/proc/self", pid, sizeof pid - 1) < 0)
		fail("getsockname");
	int length = snprintf(line, sizeof line, "client %u %s %llu %s\n", ntohs(own.sin_port), pid, start_of_self(), path);
	if (write(STDOUT_FILENO, line, length) != length)
		fail("write");
}

static void exchange(int stream)
{
	char answer[4096];
	if (write(stream, request, sizeof request - 1) < 0)
		fail("send");
	while (read(stream, answer, sizeof answer) > 0)
		;
	close(stream);
}

static void talk(void)
{
	int stream = connected();
	say(stream);
	exchange(stream);
}

/* Lives about five milliseconds. */
static void short_life(void)
{
	struct timespec began, now;
	clock_gettime(CLOCK_MONOTONIC, &began);
	talk();
	clock_gettime(CLOCK_MONOTONIC, &now);
	long lived = (now.tv_sec - began.tv_sec) * 1000000 + (now.tv_nsec - began.tv_nsec) / 1000;
	if (lived < 4000)
		usleep(4000 - lived);
}

static void run(const char *program, const char *manner)
{
	execl(program, program, manner, address, port, (char *)NULL);
	fail("exec");
}

static void wait_one(void)
{
	int status;
	if (wait(&status) < 0 || status)
		fail("a child failed");
}

/* COUNT clients, so many AT_ONCE. */
static void many(int count, int at_once)
{
	for (int number = 0; number < count; number++) {
		if (number >= at_once)
			wait_one();
		pid_t child = fork();
		if (child < 0)
			fail("fork");
		if (child == 0)
			run(path, "short");
	}
	for (int number = 0; number < (count < at_once ? count : at_once); number++)
		wait_one();
}

/* PER_SECOND processes that come and go, until the input ends; prints how many there were. */
static void churn(int per_second)
{
	unsigned long count = 0;
	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	char byte;
	while (read(STDIN_FILENO, &byte, 1) != 0) {
		pid_t child = fork();
		if (child == 0)
			run(path, "nothing");
		waitpid(child, NULL, 0);
		count++;
		/* Whoever is late does not wait. */
		due.tv_nsec += 1000000000 / per_second;
		due.tv_sec += due.tv_nsec / 1000000000;
		due.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
	printf("churned %lu\n", count);
}

/* COUNT processes with the same pid, one after another, that run this program and OTHER in turn. */
static void same_pid(int count, const char *other)
{
	pid_t last = fork();
	if (last == 0)
		_exit(0);
	waitpid(last, NULL, 0);
	for (int number = 0; number < count; number++) {
		struct clone_args arguments = {
			.exit_signal = SIGCHLD,
			.set_tid = (uintptr_t)&last,
			.set_tid_size = 1,
		};
		pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
		if (child < 0 && errno == EEXIST) {
			/* Somebody else has it now. */
			last += 1;
			number -= 1;
			continue;
		}
		if (child < 0)
			fail("clone3");
		if (child == 0) {
			/* Every third goes on without a program of its own. */
			if (number % 3 == 2) {
				talk();
				_exit(0);
			}
			run(number % 3 ? other : path, "short");
		}
		wait_one();
		/* A start is told to the hundredth of a second. */
		usleep(12000);
	}
}

/* COUNT clients in a PID namespace that has ten pids. */
static void few_pids(int count)
{
	if (unshare(CLONE_NEWPID))
		fail("unshare");
	pid_t init = fork();
	if (init == 0) {
		int file = open("/proc/sys/kernel/pid_max", O_WRONLY | O_CLOEXEC);
		if (file < 0 || write(file, "310", 3) != 3)
			fail("pid_max");
		close(file);
		many(count, 4);
		_exit(0);
	}
	wait_one();
}

static void *talk_in_thread(void *nothing)
{
	talk();
	return nothing;
}

static void thread(void)
{
	pthread_t other;
	if (pthread_create(&other, NULL, talk_in_thread, NULL))
		fail("thread");
	pthread_join(other, NULL);
}

/* The leader has ended when the thread connects. */
static void *talk_alone(void *nothing)
{
	usleep(50000);
	talk();
	_exit(0);
	return nothing;
}

static void orphaned_thread(void)
{
	pthread_t other;
	if (pthread_create(&other, NULL, talk_alone, NULL))
		fail("thread");
	pthread_exit(NULL);
}

int main(int count, char **arguments)
{
	if (count < 4)
		return 2;
	const char *manner = arguments[1];
	address = arguments[2];
	port = arguments[3];
	target.sin_family = AF_INET;
	target.sin_port = htons(atoi(port));
	inet_pton(AF_INET, address, &target.sin_addr);
	if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
		fail("exe");
	int first = count > 4 ? atoi(arguments[4]) : 0, second = count > 5 ? atoi(arguments[5]) : 0;
	if (!strcmp(manner, "short"))
		short_life();
	else if (!strcmp(manner, "many"))
		many(first, second);
	else if (!strcmp(manner, "churn"))
		churn(first);
	else if (!strcmp(manner, "same_pid"))
		same_pid(first, arguments[5]);
	else if (!strcmp(manner, "few_pids"))
		few_pids(first);
	else if (!strcmp(manner, "thread"))
		thread();
	else if (!strcmp(manner, "orphaned_thread"))
		orphaned_thread();
	else if (!strcmp(manner, "vfork")) {
		pid_t child = vfork();
		if (child == 0)
			run(path, "short");
		wait_one();
	} else if (!strcmp(manner, "late")) {
		/* Waits for a line: its file may be another one by then. */
		char byte;
		if (write(STDOUT_FILENO, "waiting\n", 8) != 8 || read(STDIN_FILENO, &byte, 1) != 1)
			fail("wait");
		talk();
	} else if (!strcmp(manner, "hold")) {
		/* Until the input ends. */
		char byte;
		say(connected());
		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
	} else if (!strcmp(manner, "user_before")) {
		if (setresuid(first, first, first))
			fail("setresuid");
		talk();
	} else if (!strcmp(manner, "user_after")) {
		int stream = connected();
		say(stream);
		if (setresuid(first, first, first))
			fail("setresuid");
		exchange(stream);
	} else if (strcmp(manner, "nothing"))
		return 2;
	return 0;
}

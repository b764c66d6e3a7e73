/* Lets one program see another time than the machine has: as many seconds away as the file of BASALT_TEST_CLOCK says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long seconds_away(void) {
	const char *path = getenv("BASALT_TEST_CLOCK");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char text[32] = {0};
	if (file < 0) {
		return 0;
	}
	if (read(file, text, sizeof text - 1) < 0) {
		text[0] = 0;
	}
	close(file);
	return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
	int failed = (int)syscall(SYS_clock_gettime, clock, time);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		time->tv_sec += seconds_away();
	}
	return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
	struct timespec now;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now)) {
		return -1;
	}
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *time) {
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now)) {
		return -1;
	}
	if (time) {
		*time = now.tv_sec;
	}
	return now.tv_sec;
}

/* Sets the machine's clock to what it is: for the kernel that is a step like any other, and it tells those who wait for one. */
#include <time.h>

int main(void) {
	struct timespec now;
	return clock_gettime(CLOCK_REALTIME, &now) || clock_settime(CLOCK_REALTIME, &now);
}

/* The wall clock and the clock that counts suspensions, moved by whoever writes two doubles (seconds) into the file that
   SET_CLOCK names: the wall clock's offset, and that of the time since boot. The monotonic clock stays as it is, as it
   does while a machine sleeps. Loaded before libc (LD_PRELOAD) by test_clocks.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile double *offsets(void) {
  static const volatile double *mapped;
  if (!mapped) {
    const char *path = getenv("SET_CLOCK");
    int fd = path ? open(path, O_RDONLY) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(0, 2 * sizeof(double), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    static const double none[2];
    mapped = at == MAP_FAILED ? none : at;
  }
  return mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME)) return failed;
  double offset = offsets()[clock == CLOCK_BOOTTIME], whole = floor(offset);
  now->tv_sec += (time_t)whole;
  now->tv_nsec += (long)((offset - whole) * 1e9);
  if (now->tv_nsec >= 1000000000L) now->tv_sec++, now->tv_nsec -= 1000000000L;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec at;
  if (clock_gettime(CLOCK_REALTIME, &at)) return -1;
  now->tv_sec = at.tv_sec;
  now->tv_usec = at.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (into) *into = at.tv_sec;
  return at.tv_sec;
}

/* Makes the n-th fdatasync after arm(n) fail with EIO, and every later one too: a disk that has died.
   Loaded before libc (LD_PRELOAD) by test_sqlite_storage_errors.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>

static int left = -1;

void arm(int n) { left = n; }

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (left > 0) left--;
  if (left == 0) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

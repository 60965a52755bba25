/* Loaded before libc: while the file that HUNG_DISK names exists, no SQLite file answers, as on a network disk that is
   cut off. The process can be ended, which it could not be on some real ones; all else is as there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void wait_for_disk(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  const char *hung = getenv("HUNG_DISK");
  if (length < 0 || !hung) return;
  path[length] = 0;
  if (!strstr(path, ".sqlite3")) return;
  while (access(hung, F_OK) == 0) usleep(50000);
}

#define WAITING(type, name, parameters, arguments)                       \
  type name parameters {                                                 \
    static type(*real) parameters;                                       \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);       \
    wait_for_disk(file);                                                 \
    return real arguments;                                               \
  }

WAITING(ssize_t, pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
WAITING(ssize_t, pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
WAITING(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
WAITING(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
WAITING(int, fsync, (int file), (file))
WAITING(int, fdatasync, (int file), (file))

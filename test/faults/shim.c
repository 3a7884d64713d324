/* Faults in system calls, for LD_PRELOAD. Counts the calls named in HFLOAD_FAULT_CALLS (comma-separated; on standard input, output and
   error they pass) and, at the one of number HFLOAD_FAULT_AT, does what HFLOAD_FAULT_ACTION says:
     kill      SIGKILL before the call
     tear      SIGKILL in the middle of it: half of the bytes are written
     short     half of the bytes, for calls that count bytes
     nothing   none of the bytes, and no error
     SIGINT, SIGTERM, SIGHUP   that signal to the process before the call, which is then made
     sleep+    from there on, 50 ms before each call
     EIO, ENOSPC, EINTR   that error, once
     EIO+, ENOSPC+        that error, from there on
   At the end the number of calls is written to HFLOAD_FAULT_COUNT.
   HFLOAD_FAULT_FILE_SYSTEM is the type that fstatfs(2) gives for every file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum action { NONE, KILL, TEAR, SHORT, NOTHING, FAIL };

static atomic_ulong calls;

static int is_counted(const char* name) {
  const char* list = getenv("HFLOAD_FAULT_CALLS");
  const size_t length = strlen(name);
  while (list != NULL && *list != '\0') {
    const char* end = strchrnul(list, ',');
    if ((size_t)(end - list) == length && strncmp(list, name, length) == 0) return 1;
    list = *end == ',' ? end + 1 : end;
  }
  return 0;
}

static int error_of(const char* text) {
  if (strncmp(text, "EIO", 3) == 0) return EIO;
  if (strncmp(text, "ENOSPC", 6) == 0) return ENOSPC;
  return EINTR;
}

/* What to do at this call; sets errno for FAIL. */
static enum action at_call(const char* name, int fd) {
  if ((fd >= 0 && fd <= 2) || !is_counted(name)) return NONE;
  const unsigned long number = atomic_fetch_add(&calls, 1) + 1;
  const char* at = getenv("HFLOAD_FAULT_AT");
  const char* text = getenv("HFLOAD_FAULT_ACTION");
  if (at == NULL || text == NULL) return NONE;
  const unsigned long wanted = strtoul(at, NULL, 10);
  const int persistent = text[strlen(text) - 1] == '+';
  if (number != wanted && !(persistent && number > wanted)) return NONE;
  if (strcmp(text, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(text, "sleep+") == 0) {
    const struct timespec pause = {0, 50 * 1000 * 1000};
    nanosleep(&pause, NULL);
    return NONE;
  }
  if (strncmp(text, "SIG", 3) == 0) {
    kill(getpid(), strcmp(text, "SIGINT") == 0 ? SIGINT : strcmp(text, "SIGTERM") == 0 ? SIGTERM : SIGHUP);
    return NONE;
  }
  if (strcmp(text, "tear") == 0) return TEAR;
  if (strcmp(text, "short") == 0) return SHORT;
  if (strcmp(text, "nothing") == 0) return NOTHING;
  errno = error_of(text);
  return FAIL;
}

__attribute__((destructor)) static void write_count(void) {
  const char* path = getenv("HFLOAD_FAULT_COUNT");
  if (path == NULL) return;
  char text[32];
  const int length = snprintf(text, sizeof text, "%lu\n", atomic_load(&calls));
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, 0666);
  if (fd < 0) return;
  (void)!syscall(SYS_write, fd, text, length);
  syscall(SYS_close, fd);
}

/* Calls `call`, an expression in `bytes`, as the action says. */
#define COUNTED_BYTES(name, fd, call)                  \
  do {                                                 \
    const enum action action = at_call(name, fd);      \
    if (action == FAIL) return -1;                     \
    if (action == NOTHING) return 0;                   \
    if ((action == SHORT || action == TEAR) && bytes > 1) bytes /= 2; \
    const ssize_t result = (call);                     \
    if (action == TEAR) kill(getpid(), SIGKILL);       \
    return result;                                     \
  } while (0)

#define PLAIN(name, fd, call)                     \
  do {                                            \
    const enum action action = at_call(name, fd); \
    if (action == FAIL) return -1;                \
    if (action == TEAR) kill(getpid(), SIGKILL);  \
    return (call);                                \
  } while (0)

ssize_t write(int fd, const void* data, size_t bytes) { COUNTED_BYTES("write", fd, syscall(SYS_write, fd, data, bytes)); }

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  COUNTED_BYTES("pwrite", fd, syscall(SYS_pwrite64, fd, data, bytes, offset));
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off_t offset) { return pwrite(fd, data, bytes, offset); }

ssize_t pread(int fd, void* data, size_t bytes, off_t offset) {
  COUNTED_BYTES("pread", fd, syscall(SYS_pread64, fd, data, bytes, offset));
}

ssize_t pread64(int fd, void* data, size_t bytes, off_t offset) { return pread(fd, data, bytes, offset); }

/* Halved: the first of its buffers alone, and half of that. */
ssize_t preadv2(int fd, const struct iovec* buffers, int count, off_t offset, int flags) {
  const enum action action = at_call("preadv2", fd);
  if (action == FAIL) return -1;
  struct iovec first = count > 0 ? buffers[0] : (struct iovec){0};
  if (action == SHORT && first.iov_len > 1) {
    first.iov_len /= 2;
    return syscall(SYS_preadv2, fd, &first, 1, offset, 0L, flags);
  }
  return syscall(SYS_preadv2, fd, buffers, count, offset, 0L, flags);
}

ssize_t preadv64v2(int fd, const struct iovec* buffers, int count, off_t offset, int flags) {
  return preadv2(fd, buffers, count, offset, flags);
}

ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, size_t bytes, unsigned flags) {
  COUNTED_BYTES("copy_file_range", to, syscall(SYS_copy_file_range, from, from_offset, to, to_offset, bytes, flags));
}

int fstatfs(int fd, struct statfs* status) {
  const int result = (int)syscall(SYS_fstatfs, fd, status);
  const char* type = getenv("HFLOAD_FAULT_FILE_SYSTEM");
  if (result == 0 && type != NULL) status->f_type = (long)strtoul(type, NULL, 0);
  return result;
}

int fstatfs64(int fd, struct statfs64* status) { return fstatfs(fd, (struct statfs*)status); }

int fsync(int fd) { PLAIN("fsync", fd, (int)syscall(SYS_fsync, fd)); }

int ftruncate(int fd, off_t size) { PLAIN("ftruncate", fd, (int)syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t size) {
  PLAIN("fallocate", fd, (int)syscall(SYS_fallocate, fd, mode, offset, size));
}
int fallocate64(int fd, int mode, off_t offset, off_t size) { return fallocate(fd, mode, offset, size); }

int close(int fd) {
  const enum action action = at_call("close", fd);
  const int error = errno;
  if (action == TEAR) kill(getpid(), SIGKILL);
  const int result = (int)syscall(SYS_close, fd);
  if (action != FAIL) return result;
  errno = error;
  return -1;
}

int renameat(int from, const char* old_name, int to, const char* new_name) {
  PLAIN("rename", -1, (int)syscall(SYS_renameat2, from, old_name, to, new_name, 0));
}
int rename(const char* old_name, const char* new_name) { return renameat(AT_FDCWD, old_name, AT_FDCWD, new_name); }

int unlinkat(int directory, const char* name, int flags) {
  PLAIN("unlink", -1, (int)syscall(SYS_unlinkat, directory, name, flags));
}

int mkdirat(int directory, const char* name, mode_t mode) {
  PLAIN("mkdir", -1, (int)syscall(SYS_mkdirat, directory, name, mode));
}

static int open_counted(int directory, const char* name, int flags, mode_t mode) {
  PLAIN("open", -1, (int)syscall(SYS_openat, directory, name, flags, mode));
}

#define MODE_OF(flags, mode)                   \
  mode_t mode = 0;                             \
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {  \
    va_list arguments;                         \
    va_start(arguments, flags);                \
    mode = va_arg(arguments, mode_t);          \
    va_end(arguments);                         \
  }

int openat(int directory, const char* name, int flags, ...) {
  MODE_OF(flags, mode)
  return open_counted(directory, name, flags, mode);
}

int open(const char* name, int flags, ...) {
  MODE_OF(flags, mode)
  return open_counted(AT_FDCWD, name, flags, mode);
}

int openat64(int directory, const char* name, int flags, ...) {
  MODE_OF(flags, mode)
  return open_counted(directory, name, flags, mode);
}

int open64(const char* name, int flags, ...) {
  MODE_OF(flags, mode)
  return open_counted(AT_FDCWD, name, flags, mode);
}

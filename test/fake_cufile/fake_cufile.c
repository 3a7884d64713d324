/* NVIDIA's cuFile library as far as hfload uses it, with the host's memory for a GPU's: what core/load/gds.h is tested against.
   Reads at most 1 MiB a call. A handle counts its reads; FAKE_CUFILE_FAIL makes the driver refuse (driver), a file (register) or a
   read (read). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct error {
  int error, driver_error;
};
struct description {
  int type;
  union {
    int fd;
    void* handle;
  } file;
  const void* operations;
};

static int fails(const char* where) {
  const char* wanted = getenv("FAKE_CUFILE_FAIL");
  return wanted != NULL && strcmp(wanted, where) == 0;
}

static int open_handles;

struct error cuFileDriverOpen(void) { return (struct error){fails("driver") ? 5001 : 0, 0}; }
struct error cuFileDriverClose(void) { return (struct error){0, 0}; }

struct error cuFileHandleRegister(void** handle, struct description* description) {
  if (fails("register") || description->type != 1) return (struct error){5027, 0};
  int* fd = malloc(sizeof *fd);
  *fd = description->file.fd;
  *handle = fd;
  ++open_handles;
  return (struct error){0, 0};
}

void cuFileHandleDeregister(void* handle) {
  free(handle);
  --open_handles;
}

ssize_t cuFileRead(void* handle, void* memory, size_t bytes, off_t offset, off_t memory_offset) {
  if (fails("read")) return -5030;
  /* The descriptor may be one for direct reads, which ask for aligned memory. */
  static _Thread_local char buffer[(1 << 20) + 4096] __attribute__((aligned(4096)));
  const off_t begin = offset / 4096 * 4096;
  if (bytes > 1 << 20) bytes = 1 << 20;
  const size_t wanted = ((size_t)(offset - begin) + bytes + 4095) / 4096 * 4096;
  ssize_t got = pread(*(int*)handle, buffer, wanted < sizeof buffer ? wanted : sizeof buffer, begin);
  if (got < 0) return -1;
  got -= offset - begin;
  if (got <= 0) return 0;
  if ((size_t)got > bytes) got = (ssize_t)bytes;
  memcpy((char*)memory + memory_offset, buffer + (offset - begin), (size_t)got);
  return got;
}

int fake_cufile_open_handles(void) { return open_handles; }

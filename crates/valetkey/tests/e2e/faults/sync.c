/* Lets the disk fail while the log of the database is synced, for as long as the file named by FAULTY_DISK exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_faulty(int file) {
    const char *flag = getenv("FAULTY_DISK");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    return flag && length > 4 && !memcmp(path + length - 4, "-wal", 4) && access(flag, F_OK) == 0;
}

static int sync_with(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (is_faulty(file)) {
        errno = EIO;
        return -1;
    }
    return real(file);
}

int fsync(int file) { return sync_with("fsync", file); }

int fdatasync(int file) { return sync_with("fdatasync", file); }

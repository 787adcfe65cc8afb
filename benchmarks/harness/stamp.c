/* The job of the benchmarks: says when it started and when it ended, at little cost of its own.
 *
 *   stamp FILE [MILLISECONDS]
 *
 * Appends `s NANOSECONDS PID` to FILE at once, sleeps if asked to, and appends `e NANOSECONDS PID` before it exits. The
 * clock is CLOCK_MONOTONIC, which all processes of a machine share. Each stamp is a single write to a file opened with
 * O_APPEND, so that stamps of concurrent jobs neither mix nor overwrite each other. Link it statically: a dynamic
 * linker would double its run time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int stamp(int file, char kind) {
    struct timespec now;
    char text[64];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(text, sizeof text, "%c %lld %ld\n", kind,
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec, (long)getpid());
    return write(file, text, (size_t)length) == length ? 0 : -1;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) return 2;
    int file = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 || stamp(file, 's') != 0) return 1;
    if (argc == 3) {
        long milliseconds = atol(argv[2]);
        struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
        while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) != 0) {
        }
    }
    return stamp(file, 'e') == 0 ? 0 : 1;
}

/* The floor: what running one shell line a job costs when nothing else is done.
 *
 *   floor SLOTS < lines
 *
 * Reads lines from standard input, starts each as `sh -c LINE` with posix_spawn on one of SLOTS slots, and waits with
 * wait4. No redirection, no environment of its own, no messages, no log: a dispatcher that does anything more can only
 * be slower. Exit status 0 unless a job could not be started or the arguments are wrong; the jobs' own do not count.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static void reap_one(void) {
    int status;
    struct rusage usage;
    while (wait4(-1, &status, 0, &usage) < 0 && errno == EINTR) {
    }
}

static int start(char *line) {
    char *const argv[] = {"sh", "-c", line, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
    if (error != 0) fprintf(stderr, "floor: cannot start /bin/sh: %s\n", strerror(error));
    return error;
}

int main(int argc, char **argv) {
    int slots = argc == 2 ? atoi(argv[1]) : 0;
    if (slots < 1) {
        fprintf(stderr, "usage: floor SLOTS < lines\n");
        return 2;
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int running = 0, failed = 0;
    while (!failed && (length = getline(&line, &capacity, stdin)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = '\0';
        if (running == slots) {
            reap_one();
            running--;
        }
        failed = start(line);
        running += !failed;
    }
    for (; running > 0; running--) reap_one();
    free(line);
    return failed != 0;
}

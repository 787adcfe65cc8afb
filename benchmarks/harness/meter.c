/* Runs one command and reports its times and its memory.
 *
 *   meter REPORT COMMAND [ARGUMENT...]
 *
 * Why a program of its own, and not the Python that drives the benchmarks:
 *
 * - The peak memory that wait4 reports begins with the peak of the process that forked (the kernel carries it over the
 *   exec), so a small command started from Python would seem to need as much memory as Python. This parent is tiny.
 * - It is a subreaper: daemons that a command leaves behind (a task-spooler server, the waiters of nq) become its
 *   children and not init's, so their CPU time is counted too and nothing can escape being stopped.
 * - A process's own CPU time, without its children's, is read from its CPU clock once it has exited and before it is
 *   reaped: in nanoseconds, with all its threads, and without sampling.
 *
 * REPORT gets one line of numbers: status, start and end (CLOCK_MONOTONIC, ns), own CPU (ns), CPU of everything that
 * ran (us), peak resident memory (KiB). The last three fields of a killed command are as good as those of a normal one.
 * It exits when the command and everything that the command left behind has ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static long long nanoseconds(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) return -1;
    return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* clock_getcpuclockid refuses a process that has exited; the kernel does not mind. This is its encoding of a process's
 * scheduler clock, part of its interface to user space. */
static clockid_t cpu_clock(pid_t pid) { return (clockid_t)((~(unsigned)pid << 3) | 2u); }

static long long microseconds(const struct rusage *usage) {
    return (long long)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000LL + usage->ru_utime.tv_usec +
           usage->ru_stime.tv_usec;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: meter REPORT COMMAND [ARGUMENT...]\n");
        return 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child;
    long long started = nanoseconds(CLOCK_MONOTONIC);
    int error = posix_spawnp(&child, argv[2], NULL, NULL, argv + 2, environ);
    if (error != 0) {
        fprintf(stderr, "meter: cannot start %s: %s\n", argv[2], strerror(error));
        return 127;
    }
    long long ended = 0, own = -1, cpu = 0;
    long peak = 0;
    int result = 0;
    for (;;) {
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0) {
            if (errno == EINTR) continue;
            break; /* ECHILD: nothing is left */
        }
        if (info.si_pid == child) {
            ended = nanoseconds(CLOCK_MONOTONIC);
            own = nanoseconds(cpu_clock(child));
        }
        int status;
        struct rusage usage;
        if (wait4(info.si_pid, &status, 0, &usage) < 0) continue;
        cpu += microseconds(&usage);
        if (info.si_pid == child) {
            peak = usage.ru_maxrss;
            result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
    }
    FILE *report = fopen(argv[1], "w");
    if (report == NULL) {
        perror("meter: report");
        return 1;
    }
    fprintf(report, "%d %lld %lld %lld %lld %ld\n", result, started, ended, own, cpu, peak);
    return fclose(report) == 0 ? 0 : 1;
}

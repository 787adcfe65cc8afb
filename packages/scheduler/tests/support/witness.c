/* A job that bears witness: what it saw is compared with what the queue tells.
 *
 *   witness FOLDER MILLISECONDS STATUS
 *
 * Begins by creating FOLDER/begun/JOB.ATTEMPT, which nobody may have done before; locks
 * FOLDER/cardN for each card N that it is given, which nobody else may have locked; stays for so
 * long, or if that is negative until there is FOLDER/go; notes its end in FOLDER/log and ends with
 * STATUS, or by the signal STATUS - 128.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *folder, *job, *attempt;

static void note(const char *what, const char *about) {
    char path[4096], line[300];
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(line, sizeof line, "%s %s.%s %s\n", what, job, attempt, about);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) exit(90);
    close(fd);
}

int main(int argc, char **argv) {
    const char *cards = getenv("CUDA_VISIBLE_DEVICES");
    job = getenv("SGS_JOB"), attempt = getenv("SGS_ATTEMPT");
    if (argc != 4 || !cards || !job || !attempt) return 91;
    folder = argv[1];
    char path[4096];
    snprintf(path, sizeof path, "%s/begun/%s.%s", folder, job, attempt);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) note(errno == EEXIST ? "twice" : "unseen", strerror(errno));
    else close(fd);
    char *copy = strdup(cards), *save = NULL;
    for (char *one = strtok_r(copy, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
        snprintf(path, sizeof path, "%s/card%s", folder, one);
        int card = open(path, O_RDONLY | O_CREAT, 0666);
        if (card < 0) return 92;
        if (flock(card, LOCK_EX | LOCK_NB) != 0) note("double", one);
    }
    snprintf(path, sizeof path, "%s/go", folder);
    if (atoi(argv[2]) < 0) while (access(path, F_OK) != 0) usleep(5000);
    else usleep(1000 * (useconds_t)atoi(argv[2]));
    note("ends", argv[3]);
    int status = atoi(argv[3]);
    if (status > 128) {
        signal(status - 128, SIG_DFL);
        kill(getpid(), status - 128);
    }
    return status;
}

/* A job that really occupies its cards: the kernel itself says whether anybody else does.
 *
 *   occupy FOLDER MILLISECONDS
 *
 * Locks a file for each card of CUDA_VISIBLE_DEVICES, without waiting, stays for so long, and
 * writes a line "ok" to FOLDER/log; where a card was occupied, "double CARD".
 *
 * The locks are on descriptors above that of the lease: of a process that is killed, the kernel
 * closes the highest first, and what we observe must not outlive what is observed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ABOVE_THE_LEASE 500

static void note(const char *folder, const char *text) {
    char path[4096], line[300];
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(line, sizeof line, "%s\n", text);
    int fd = open(path, O_WRONLY | O_APPEND);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) exit(9);
    close(fd);
}

int main(int argc, char **argv) {
    const char *cards = getenv("CUDA_VISIBLE_DEVICES");
    if (argc != 3 || !cards || !*cards) return 2;
    char *copy = strdup(cards), *save = NULL;
    for (char *one = strtok_r(copy, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
        char path[4096], text[300];
        snprintf(path, sizeof path, "%s/card%s", argv[1], one);
        int low = open(path, O_RDONLY), fd = fcntl(low, F_DUPFD, ABOVE_THE_LEASE);
        if (fd < 0) return 3;
        close(low);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            snprintf(text, sizeof text, "double %s", one);
            note(argv[1], text);
            return 4;
        }
    }
    usleep(1000 * (useconds_t)atoi(argv[2]));
    note(argv[1], "ok");
    return 0;
}

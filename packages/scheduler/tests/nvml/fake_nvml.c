/* A stand-in for libnvidia-ml.so.1: the cards are those of the environment.
 *
 * FAKE_NVML_GPUS  UUIDs of the cards, separated by spaces; MIG slices follow a card's UUID after
 *                 a colon, separated by plus signs: "GPU-a GPU-b:MIG-b1+MIG-b2"
 * FAKE_NVML_INIT  what nvmlInit returns (0: success; 9: driver not loaded)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16
enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

struct device {
    char uuid[96];
    int slices;
    struct device *slice[MOST];
};

static struct device cards[MOST];
static int count;

static void read_card(struct device *card, char *text) {
    char *save = NULL, *slices = strchr(text, ':');
    if (slices) *slices++ = '\0';
    snprintf(card->uuid, sizeof card->uuid, "%s", text);
    for (char *one = slices ? strtok_r(slices, "+", &save) : NULL; one && card->slices < MOST;
         one = strtok_r(NULL, "+", &save)) {
        struct device *slice = calloc(1, sizeof *slice);
        snprintf(slice->uuid, sizeof slice->uuid, "%s", one);
        card->slice[card->slices++] = slice;
    }
}

int nvmlInitWithFlags(unsigned flags) {
    const char *gpus = getenv("FAKE_NVML_GPUS"), *code = getenv("FAKE_NVML_INIT");
    (void)flags;
    if (code && atoi(code)) return atoi(code);
    char *copy = strdup(gpus ? gpus : ""), *save = NULL;
    memset(cards, 0, sizeof cards);
    count = 0;
    for (char *one = strtok_r(copy, " ", &save); one && count < MOST;
         one = strtok_r(NULL, " ", &save))
        read_card(&cards[count++], one);
    free(copy);
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    return code == 9 ? "Driver Not Loaded" : code == NOT_FOUND ? "Not Found" : "Error";
}

int nvmlDeviceGetCount_v2(unsigned *number) {
    *number = (unsigned)count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    if (index >= (unsigned)count) return INVALID;
    *device = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned size) {
    if (strlen(device->uuid) >= size) return TOO_SMALL;
    strcpy(uuid, device->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending) {
    if (strstr(device->uuid, "old")) return NOT_SUPPORTED;
    *current = *pending = device->slices > 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *number) {
    (void)device;
    *number = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index,
                                        struct device **slice) {
    /* holes between slices are usual: slice k stands at place 2k */
    if (index % 2 || index / 2 >= (unsigned)device->slices) return NOT_FOUND;
    *slice = device->slice[index / 2];
    return SUCCESS;
}

/* A stand-in for libnvidia-ml.so.1: the cards are those of a text file. See README.md.
 *
 * FAKE_NVML_STATE  the file; looked at again at every call, so that a test may change the machine
 * FAKE_NVML_GPUS   without a file: UUIDs of cards, separated by spaces; MIG slices follow a card's
 *                  UUID after a colon, separated by plus signs: "GPU-a GPU-b:MIG-b1+MIG-b2"
 * FAKE_NVML_INIT   what nvmlInit returns (0: success; 9: driver not loaded)
 *
 * Names, structures and codes are those of NVIDIA's nvml.h as pynvml (nvidia-ml-py) calls them.
 * What the file doesn't say about a card, the card doesn't support. One thread at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CARDS = 16, SLICES = 8, PROCESSES = 64, LINKS = 18, XIDS = 32, WORD = 96 };
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7,
    TIMEOUT = 10, LOST = 15, UNKNOWN = 999
};
enum { COMPUTE, GRAPHICS, MPS };
enum { XID_EVENT = 8 };
static const unsigned long long NO_VALUE = -1ULL, MIB = 1024 * 1024;

struct process {
    int kind, hidden; /* hidden: of another pid namespace, so it can't be seen to have ended */
    unsigned pid;
    unsigned long long bytes;
};

struct link {
    int active;
    char peer[WORD]; /* UUID of a card, or the PCI address of a switch */
};

/* Handles point into `cards`, by place: they stay good when the file changes. */
struct device {
    char uuid[WORD], name[WORD], pci[32];
    int is_slice, mig, slices, processes, links, lost, xids, seen_xids;
    int has_memory, has_utilisation, has_temperature, has_power, has_numa, has_ecc, has_share;
    unsigned long long total, base, ecc;
    unsigned utilisation, temperature, milliwatts, multiprocessors, share;
    int numa;
    struct process process[PROCESSES];
    struct link link[LINKS];
    unsigned long long xid[XIDS];
    struct device *slice[SLICES];
};

static struct device cards[CARDS], slice_room[CARDS][SLICES];
static int count, init_code, initialised, number_of_line;
static struct stat last;

/* ---- the state ---- */

static struct device *add_card(const char *uuid) {
    if (count == CARDS) return NULL;
    struct device *card = &cards[count];
    int seen = strcmp(card->uuid, uuid) ? 0 : card->seen_xids; /* events come once */
    memset(card, 0, sizeof *card);
    card->seen_xids = seen;
    card->mig = -1;
    snprintf(card->uuid, sizeof card->uuid, "%s", uuid);
    snprintf(card->name, sizeof card->name, "Fake GPU");
    snprintf(card->pci, sizeof card->pci, "%08X:%02X:00.0", 0x10000, count + 1);
    count++;
    return card;
}

static struct device *add_slice(struct device *card, const char *uuid) {
    if (!card || card->slices == SLICES) return NULL;
    struct device *slice = &slice_room[card - cards][card->slices];
    memset(slice, 0, sizeof *slice);
    slice->is_slice = 1;
    snprintf(slice->uuid, sizeof slice->uuid, "%s", uuid);
    snprintf(slice->name, sizeof slice->name, "%.80s MIG", card->name);
    card->slice[card->slices++] = slice;
    card->mig = 1;
    return slice;
}

static int add_process(struct device *on, int kind, int hidden, const char *words) {
    char memory[WORD];
    unsigned pid;
    if (on->processes == PROCESSES || sscanf(words, "%u %95s", &pid, memory) != 2) return 0;
    char *end;
    unsigned long long mib = strtoull(memory, &end, 10);
    if (*end && strcmp(memory, "?")) return 0;
    struct process one = {kind, hidden, pid, *end ? NO_VALUE : mib * MIB};
    on->process[on->processes++] = one;
    return 1;
}

static int add_links(struct device *card, const char *words) {
    char peer[WORD];
    int links;
    if (sscanf(words, "%95s %d", peer, &links) != 2 || links < 1) return 0;
    if (card->links + links > LINKS) return 0;
    for (; links; links--) {
        struct link *one = &card->link[card->links++];
        one->active = strcmp(peer, "down") != 0;
        snprintf(one->peer, sizeof one->peer, "%s", peer);
    }
    return 1;
}

static int set_power(struct device *card, const char *words) {
    double watts;
    if (sscanf(words, "%lf", &watts) != 1) return 0;
    card->milliwatts = (unsigned)(watts * 1000 + 0.5);
    return card->has_power = 1;
}

/* One fact about a card or slice; 0 if it can't be understood. */
static int read_fact(struct device *of, const char *word, const char *rest) {
    if (!strcmp(word, "name")) return snprintf(of->name, sizeof of->name, "%.95s", rest) > 0;
    if (!strcmp(word, "pci")) return snprintf(of->pci, sizeof of->pci, "%.31s", rest) > 0;
    if (!strcmp(word, "memory")) {
        int got = sscanf(rest, "%llu %llu", &of->total, &of->base);
        return of->has_memory = got >= 1;
    }
    if (!strcmp(word, "utilisation"))
        return of->has_utilisation = sscanf(rest, "%u", &of->utilisation) == 1;
    if (!strcmp(word, "temperature"))
        return of->has_temperature = sscanf(rest, "%u", &of->temperature) == 1;
    if (!strcmp(word, "power")) return set_power(of, rest);
    if (!strcmp(word, "numa")) return of->has_numa = sscanf(rest, "%d", &of->numa) == 1;
    if (!strcmp(word, "ecc")) return of->has_ecc = sscanf(rest, "%llu", &of->ecc) == 1;
    if (!strcmp(word, "share"))
        return of->has_share = sscanf(rest, "%u %u", &of->share, &of->multiprocessors) == 2;
    if (!strcmp(word, "mig")) return of->mig = !strcmp(rest, "on"), 1;
    if (!strcmp(word, "lost")) return of->lost = 1;
    if (!strcmp(word, "link")) return add_links(of, rest);
    if (!strcmp(word, "process")) return add_process(of, COMPUTE, 0, rest);
    if (!strcmp(word, "graphics")) return add_process(of, GRAPHICS, 0, rest);
    if (!strcmp(word, "mps")) return add_process(of, MPS, 0, rest);
    if (!strcmp(word, "ghost")) return add_process(of, COMPUTE, 1, rest);
    if (!strcmp(word, "xid"))
        return of->xids < XIDS && sscanf(rest, "%llu", &of->xid[of->xids++]) == 1;
    return 0;
}

static int read_line(char *line, struct device **card, struct device **of) {
    char *word = line + strspn(line, " \t"), *rest;
    word[strcspn(word, "\r\n")] = '\0';
    if (!*word || *word == '#') return 1;
    rest = word + strcspn(word, " \t");
    if (*rest) *rest++ = '\0';
    rest += strspn(rest, " \t");
    if (!strcmp(word, "init")) return sscanf(rest, "%d", &init_code) == 1;
    if (!strcmp(word, "card")) return *rest && (*of = *card = add_card(rest)) != NULL;
    if (!strcmp(word, "slice")) return *rest && (*of = add_slice(*card, rest)) != NULL;
    return *of && read_fact(*of, word, rest);
}

static void read_file(FILE *file, const char *path) {
    struct device *card = NULL, *of = NULL;
    char line[512], shown[sizeof line];
    count = init_code = number_of_line = 0;
    while (fgets(line, sizeof line, file)) {
        number_of_line++;
        snprintf(shown, sizeof shown, "%.*s", (int)strcspn(line, "\r\n"), line);
        if (read_line(line, &card, &of)) continue;
        fprintf(stderr, "fake_nvml: %s:%d: can't understand %s\n", path, number_of_line, shown);
        init_code = UNKNOWN;
        return;
    }
}

static void read_environment(void) {
    const char *gpus = getenv("FAKE_NVML_GPUS"), *code = getenv("FAKE_NVML_INIT");
    char *copy = strdup(gpus ? gpus : ""), *save = NULL, *inner;
    count = 0;
    init_code = code ? atoi(code) : SUCCESS;
    for (char *one = strtok_r(copy, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
        char *slices = strchr(one, ':');
        if (slices) *slices++ = '\0';
        struct device *card = add_card(one);
        if (!card) break;
        card->mig = strstr(one, "old") ? -1 : 0; /* a card that knows no MIG */
        inner = NULL;
        for (char *uuid = slices ? strtok_r(slices, "+", &inner) : NULL; uuid;
             uuid = strtok_r(NULL, "+", &inner))
            add_slice(card, uuid);
    }
    free(copy);
}

static int same_file(const struct stat *now) {
    return now->st_ino == last.st_ino && now->st_size == last.st_size &&
           now->st_mtim.tv_sec == last.st_mtim.tv_sec &&
           now->st_mtim.tv_nsec == last.st_mtim.tv_nsec;
}

/* What nvmlInit would say now; reads the state again if it has changed. */
static int refresh(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat now;
    if (!path) {
        if (!initialised) read_environment();
        return init_code;
    }
    FILE *file = fopen(path, "r");
    if (!file || fstat(fileno(file), &now)) {
        fprintf(stderr, "fake_nvml: FAKE_NVML_STATE=%s: %s\n", path, strerror(errno));
        if (file) fclose(file);
        return UNKNOWN;
    }
    if (!same_file(&now)) {
        read_file(file, path);
        last = now;
    }
    fclose(file);
    return init_code;
}

static int ready(void) { return initialised ? refresh() : UNINITIALIZED; }

static struct device *card_of(struct device *device) {
    if (!device->is_slice) return device;
    return &cards[(device - &slice_room[0][0]) / SLICES];
}

static int ready_device(struct device *device) {
    int code = ready();
    return code ? code : card_of(device)->lost ? LOST : SUCCESS;
}

static int lives(const struct process *process) {
    char path[64], text[256] = "";
    if (process->hidden) return 1;
    if (kill((pid_t)process->pid, 0) && errno == ESRCH) return 0;
    snprintf(path, sizeof path, "/proc/%u/stat", process->pid);
    FILE *file = fopen(path, "r");
    if (!file) return 1;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    char *end = strrchr(text, ')'); /* a zombie has given its memory back */
    return !(end && (end[2] == 'Z' || end[2] == 'X'));
}

static unsigned long long used_bytes(const struct device *device) {
    unsigned long long used = device->base * MIB;
    for (int i = 0; i < device->processes; i++)
        if (device->process[i].bytes != NO_VALUE && lives(&device->process[i]))
            used += device->process[i].bytes;
    for (int i = 0; i < device->slices; i++) used += used_bytes(device->slice[i]);
    return used;
}

/* ---- the driver ---- */

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = refresh();
    if (code == SUCCESS) initialised++;
    return code;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    return code == 9 ? "Driver Not Loaded" : code == NOT_FOUND ? "Not Found" : "Error";
}

int nvmlDeviceGetCount_v2(unsigned *number) {
    int code = ready();
    *number = (unsigned)count;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    int code = ready();
    if (code) return code;
    if (index >= (unsigned)count) return INVALID;
    *device = &cards[index];
    return cards[index].lost ? LOST : SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device) {
    int code = ready();
    for (int i = 0; !code && i < count; i++) {
        if (!strcmp(cards[i].uuid, uuid)) return *device = &cards[i], ready_device(&cards[i]);
        for (int k = 0; k < cards[i].slices; k++)
            if (!strcmp(cards[i].slice[k]->uuid, uuid)) return *device = cards[i].slice[k], SUCCESS;
    }
    return code ? code : NOT_FOUND;
}

static int give(const char *text, char *to, unsigned size) {
    if (strlen(text) >= size) return TOO_SMALL;
    strcpy(to, text);
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned size) {
    int code = ready_device(device);
    return code ? code : give(device->uuid, uuid, size);
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned size) {
    int code = ready_device(device);
    return code ? code : give(device->name, name, size);
}

struct pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char text[32];
};

static int give_pci(const char *text, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    sscanf(text, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->text, sizeof pci->text, "%s", text);
    snprintf(pci->legacy, sizeof pci->legacy, "%04X:%02X:%02X.0", pci->domain & 0xffff,
             pci->bus & 0xff, pci->device & 0xff);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(struct device *device, struct pci *pci) {
    int code = ready_device(device);
    return code ? code : give_pci(card_of(device)->pci, pci);
}

int nvmlDeviceGetMemoryInfo(struct device *device, unsigned long long memory[3]) {
    int code = ready_device(device);
    if (code) return code;
    if (!device->has_memory) return NOT_SUPPORTED;
    memory[0] = device->total * MIB;
    memory[2] = used_bytes(device);
    memory[1] = memory[0] - memory[2];
    return SUCCESS;
}

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *memory) {
    unsigned long long old[3];
    int code = nvmlDeviceGetMemoryInfo(device, old);
    if (code) return code;
    memory->total = old[0];
    memory->reserved = 0;
    memory->free = old[1];
    memory->used = old[2];
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct device *device, unsigned rates[2]) {
    int code = ready_device(device);
    if (code) return code;
    if (!device->has_utilisation || device->is_slice) return NOT_SUPPORTED;
    rates[0] = device->utilisation;
    rates[1] = 0;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(struct device *device, unsigned sensor, unsigned *celsius) {
    int code = ready_device(device);
    if (code) return code;
    if (sensor) return INVALID;
    *celsius = device->temperature;
    return device->has_temperature ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
    int code = ready_device(device);
    *milliwatts = device->milliwatts;
    return code ? code : device->has_power ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetNumaNodeId(struct device *device, int *node) {
    int code = ready_device(device);
    *node = card_of(device)->numa;
    return code ? code : card_of(device)->has_numa ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetTotalEccErrors(struct device *device, unsigned type, unsigned counter,
                                unsigned long long *errors) {
    int code = ready_device(device);
    *errors = type == 1 && counter == 0 ? device->ecc : 0; /* uncorrected, volatile */
    return code ? code : device->has_ecc ? SUCCESS : NOT_SUPPORTED;
}

/* ---- processes ---- */

struct process_info {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};

static int give_processes(struct device *device, int kind, unsigned *size,
                          struct process_info *infos) {
    int code = ready_device(device);
    unsigned found = 0, room = *size;
    if (code) return code;
    for (int i = 0; i < device->processes; i++) {
        const struct process *one = &device->process[i];
        if (one->kind != kind || !lives(one)) continue;
        if (infos && found < room)
            infos[found] = (struct process_info){one->pid, one->bytes, -1U, -1U};
        found++;
    }
    *size = found;
    return found > (infos ? room : 0) ? TOO_SMALL : SUCCESS;
}

#define PROCESS_LIST(name, kind)                                                                 \
    int name(struct device *device, unsigned *size, struct process_info *infos) {                \
        return give_processes(device, kind, size, infos);                                        \
    }
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE)
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS)
PROCESS_LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS)
PROCESS_LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS)

/* ---- MIG ---- */

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending) {
    int code = ready_device(device);
    if (code) return code;
    if (device->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)device->mig;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *number) {
    (void)device;
    *number = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index,
                                        struct device **slice) {
    int code = ready_device(device);
    if (code) return code;
    /* Holes between slices are usual: while there is room, slice k stands at place 2k. */
    unsigned step = device->slices <= 4 ? 2 : 1;
    if (index % step || index / step >= (unsigned)device->slices) return NOT_FOUND;
    *slice = device->slice[index / step];
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct device *slice, struct device **card) {
    if (!slice->is_slice) return INVALID;
    *card = card_of(slice);
    return SUCCESS;
}

struct attributes {
    unsigned multiprocessors, engines[5], gpu_slices, compute_slices;
    unsigned long long memory_mib;
};

int nvmlDeviceGetAttributes_v2(struct device *device, struct attributes *attributes) {
    int code = ready_device(device);
    if (code) return code;
    if (!device->is_slice || !device->has_share) return NOT_SUPPORTED;
    memset(attributes, 0, sizeof *attributes);
    attributes->multiprocessors = device->multiprocessors;
    attributes->gpu_slices = attributes->compute_slices = device->share;
    attributes->memory_mib = device->total;
    return SUCCESS;
}

/* ---- NVLink ---- */

static struct device *card_named(const char *uuid) {
    for (int i = 0; i < count; i++)
        if (!strcmp(cards[i].uuid, uuid)) return &cards[i];
    return NULL;
}

static int ready_link(struct device *device, unsigned number) {
    int code = ready_device(device);
    if (code) return code;
    if (!device->links) return NOT_SUPPORTED;
    return number < (unsigned)device->links ? SUCCESS : INVALID;
}

int nvmlDeviceGetNvLinkState(struct device *device, unsigned number, unsigned *active) {
    int code = ready_link(device, number);
    if (code == SUCCESS) *active = (unsigned)device->link[number].active;
    return code;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(struct device *device, unsigned number, struct pci *pci) {
    int code = ready_link(device, number);
    if (code) return code;
    struct device *peer = card_named(device->link[number].peer);
    return give_pci(peer ? peer->pci : device->link[number].peer, pci);
}

int nvmlDeviceGetNvLinkRemoteDeviceType(struct device *device, unsigned number, unsigned *type) {
    int code = ready_link(device, number);
    if (code == SUCCESS) *type = card_named(device->link[number].peer) ? 0 : 2; /* 2: a switch */
    return code;
}

/* ---- events ---- */

struct event_set {
    struct device *device[CARDS];
    int devices;
};

struct event {
    struct device *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

int nvmlEventSetCreate(struct event_set **set) {
    int code = ready();
    if (code) return code;
    *set = calloc(1, sizeof **set);
    return *set ? SUCCESS : UNKNOWN;
}

int nvmlEventSetFree(struct event_set *set) {
    free(set);
    return SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(struct device *device, unsigned long long *types) {
    *types = XID_EVENT;
    return ready_device(device);
}

int nvmlDeviceRegisterEvents(struct device *device, unsigned long long types,
                             struct event_set *set) {
    int code = ready_device(device);
    if (code) return code;
    if (types & ~(unsigned long long)XID_EVENT || set->devices == CARDS) return NOT_SUPPORTED;
    set->device[set->devices++] = device;
    device->seen_xids = device->xids; /* only what happens from now on */
    return SUCCESS;
}

static int next_event(struct event_set *set, struct event *event) {
    for (int i = 0; i < set->devices; i++) {
        struct device *one = set->device[i];
        if (one->seen_xids < one->xids) {
            *event = (struct event){one, XID_EVENT, one->xid[one->seen_xids++], -1U, -1U};
            return 1;
        }
    }
    return 0;
}

int nvmlEventSetWait_v2(struct event_set *set, struct event *event, unsigned timeout_ms) {
    struct timespec step = {0, 5 * 1000 * 1000};
    for (unsigned waited_ms = 0;; waited_ms += 5) {
        int code = ready();
        if (code) return code;
        if (next_event(set, event)) return SUCCESS;
        if (waited_ms >= timeout_ms) return TIMEOUT;
        nanosleep(&step, NULL);
    }
}

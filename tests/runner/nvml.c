/* Stands in for NVIDIA's library: three cards, of which the second lacks most, the third is lost.
 * NVML_STATE: unset, or "broken" (the driver does not start), or "none" (no card). */
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

struct memory { unsigned long long total, free, used; };
struct rates { unsigned int gpu, memory; };
struct process { unsigned int pid; unsigned long long used; unsigned int instance, compute; };

static int state_is(const char *name) {
  const char *state = getenv("NVML_STATE");
  return state && !strcmp(state, name);
}

static int first(void *device) { return device == (void *)1; }

int nvmlInitWithFlags(unsigned int flags) { return state_is("broken") ? DRIVER_NOT_LOADED : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "no such thing"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { strcpy(text, "580.126.09"); return OK; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return OK; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = state_is("none") ? 0 : 3; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
  if (index == 2) return GPU_IS_LOST;
  *device = (void *)(unsigned long)(index + 1);
  return OK;
}

int nvmlDeviceGetName(void *device, char *text, unsigned int size) {
  strcpy(text, first(device) ? "NVIDIA H100 80GB HBM3" : "NVIDIA GB10");
  return OK;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned int size) {
  strcpy(text, first(device) ? "GPU-11112222-0000" : "GPU-33334444-0000");
  return OK;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
  if (!first(device)) return NOT_SUPPORTED;
  memory->total = 85899345920ULL;
  memory->used = 5000000000ULL;
  memory->free = memory->total - memory->used;
  return OK;
}

int nvmlDeviceGetUtilizationRates(void *device, struct rates *rates) {
  if (!first(device)) return NOT_SUPPORTED;
  rates->gpu = 37;
  return OK;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
  *milliwatts = 123400;
  return first(device) ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned int *milliwatts) {
  *milliwatts = 700000;
  return first(device) ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
  *major = 9;
  *minor = 0;
  return OK;
}

int nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *later) {
  *now = *later = 0;
  return first(device) ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *list) {
  if (!first(device)) return NOT_SUPPORTED;
  if (!list) {
    *count = 2;
    return INSUFFICIENT_SIZE;
  }
  *count = 2;
  list[0].pid = 4242;
  list[0].used = 1000000000ULL;
  list[1].pid = 77;
  list[1].used = 3000000000ULL;
  return OK;
}

/* replay.c - runs a target over files and folders, without libFuzzer: replay_fuzz_cbor corpus/cbor */
#include <dirent.h>

#include "fuzz.h"

static size_t runs;

static void run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    (void)LLVMFuzzerTestOneInput(bytes, n);
    runs++;
}

static void run_folder(DIR *folder, const char *path)
{
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char name[4096];
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            run_file(name);
        }
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder != NULL) {
            run_folder(folder, argv[i]);
        } else {
            run_file(argv[i]);
        }
    }
    printf("%zu inputs\n", runs);
    return runs == 0;
}

/* seeds.c - writes the seed corpus from what our own writers make: seeds tests/fuzz/corpus */
#include <stdio.h>
#include <stdlib.h>

#include "format/c2pa.h"
#include "sample.h"

static void save(const char *folder, const char *target, const char *name, struct atlas_span head, struct atlas_span bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(head.p, 1, head.n, f) != head.n || fwrite(bytes.p, 1, bytes.n, f) != bytes.n ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

/* The choice of fuzz_c2pa for an assertion of this kind. */
static int choice_of(enum atlas_c2pa_kind kind)
{
    switch (kind) {
    case ATLAS_C2PA_HASH_DATA:
        return 1;
    case ATLAS_C2PA_INGREDIENT:
        return 2;
    case ATLAS_C2PA_ACTIONS:
        return 3;
    case ATLAS_C2PA_ASSET_TYPE:
        return 4;
    case ATLAS_C2PA_TRAINING_MINING:
        return 5;
    case ATLAS_C2PA_MEASUREMENT:
        return 6;
    case ATLAS_C2PA_INPUTS:
        return 7;
    case ATLAS_C2PA_METRICS:
        return 8;
    case ATLAS_C2PA_COVERAGE:
        return 9;
    case ATLAS_C2PA_ATTESTATION:
        return 10;
    default:
        return -1;
    }
}

static void save_choice(const char *folder, const char *name, int choice, struct atlas_span cbor)
{
    uint8_t head = (uint8_t)(100 + choice);
    save(folder, "c2pa", name, atlas_span_of(&head, 1), cbor);
    save(folder, "cbor", name, ATLAS_SPAN_NONE, cbor);
}

static void save_manifest(const char *folder, const struct atlas_jumbf *superbox, char tag)
{
    char name[64];
    struct atlas_c2pa_manifest m;
    enum atlas_c2pa_problem problem;
    struct atlas_jumbf_iter it;
    if (atlas_c2pa_manifest_read(superbox, &m, &problem, NULL) < 0) {
        abort();
    }
    snprintf(name, sizeof name, "claim-%c", tag);
    save_choice(folder, name, 0, m.claim_cbor);
    it = atlas_jumbf_iterate(m.assertions.content, "", NULL);
    for (int i = 0; atlas_jumbf_more(&it); i++) {
        struct atlas_jumbf box;
        struct atlas_c2pa_assertion a;
        if (atlas_jumbf_next(&it, &box) < 0 || atlas_c2pa_assertion_read(&box, &a, NULL) < 0) {
            abort();
        }
        snprintf(name, sizeof name, "assertion-%c%d", tag, i);
        save(folder, "jumbf", name, ATLAS_SPAN_NONE, box.box);
        if (choice_of(a.kind) > 0) {
            save_choice(folder, name, choice_of(a.kind), a.content);
        }
    }
}

int main(int argc, char **argv)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_c2pa_store store;
    if (argc != 2) {
        return 2;
    }
    sample_cbor(&b);
    save(argv[1], "cbor", "sample", ATLAS_SPAN_NONE, atlas_buf_span(&b));
    atlas_buf_clear(&b);
    sample_cose(&b);
    save(argv[1], "cose", "sample", ATLAS_SPAN_NONE, atlas_buf_span(&b));
    save(argv[1], "cbor", "cose", ATLAS_SPAN_NONE, atlas_buf_span(&b));
    atlas_buf_clear(&b);
    sample_store(&b);
    save(argv[1], "c2pa", "store", ATLAS_SPAN_NONE, atlas_buf_span(&b));
    save(argv[1], "jumbf", "store", ATLAS_SPAN_NONE, atlas_buf_span(&b));
    if (atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL) < 0) {
        return 1;
    }
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(store.box.content, "", NULL);
    for (char tag = 'a'; atlas_jumbf_more(&it); tag++) {
        struct atlas_jumbf box;
        if (atlas_jumbf_next(&it, &box) < 0) {
            return 1;
        }
        save_manifest(argv[1], &box, tag);
    }
    struct atlas_span ref = ATLAS_LIT("\x6eself#jumbf=/c2pa/" SAMPLE_PARENT "/c2pa.assertions/c2pa.ingredient.v3__1");
    save(argv[1], "c2pa", "ref", ATLAS_SPAN_NONE, ref);
    atlas_buf_release(&b);
    return 0;
}

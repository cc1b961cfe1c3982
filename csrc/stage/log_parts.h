/* log_parts.h - what the files of the log stage share; log.h is for everybody else. */
#ifndef ATLAS_STAGE_LOG_PARTS_H
#define ATLAS_STAGE_LOG_PARTS_H

#include "port/durable.h"
#include "port/pool.h"
#include "port/volume.h"
#include "stage/log.h"
#include "stage/merkle.h"

/* ---- log_tree.c: a head and its tree's right edge */

struct log_edge { /* the partial tile of each level, as far as it is filled */
    struct atlas_buf tiles[ATLAS_TILE_LEVELS];
};

void log_edge_release(struct log_edge *edge);

/* How many hashes the edge has at that level of a tree of this size. */
static inline unsigned log_edge_width(uint64_t size, unsigned level)
{
    return (unsigned)(size >> (ATLAS_TILE_BITS * level)) % ATLAS_TILE_WIDTH;
}

int log_edge_root(const struct log_edge *edge, uint64_t size, struct atlas_digest *ret_root,
                  struct atlas_error *error);

/* The root over some hashes of one tile, which are a power of two. */
int log_subtree(struct atlas_span hashes, struct atlas_digest *ret_root, struct atlas_error *error);

struct log_tree { /* never changed once it is shared; refs under the log's monitor */
    unsigned refs;
    uint64_t size;
    struct atlas_digest root;
    struct log_edge edge;
    struct atlas_buf note; /* the signed checkpoint, as .state/head has it */
};

void log_tree_free(struct log_tree *tree);

/* A file below the log's folder, whole. ATLAS_E_LIMIT: longer than max. */
int log_read(const struct atlas_log *log, int dir, const char *name, size_t max, struct atlas_buf *ret_bytes,
             struct atlas_error *error);

/* A tile or bundle of just this width; a tile of another length is ATLAS_E_TILE, and so is one that is not there. */
int log_read_tile(const struct atlas_log *log, const struct atlas_tile *tile, struct atlas_buf *ret_bytes,
                  struct atlas_error *error);

/* Read the edge of the tree from the disk; whether it makes the root is for the caller. Levels that are there stay. */
int log_edge_read(const struct atlas_log *log, uint64_t size, struct log_edge *edge, struct atlas_error *error);

/* The root of the tree's first `size` entries, and proofs; from tiles that nobody has checked. */
int log_tree_root_at(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                     struct atlas_digest *ret_root, struct atlas_error *error);
int log_tree_leaf(const struct atlas_log *log, const struct log_tree *tree, uint64_t index,
                  struct atlas_digest *ret_leaf, struct atlas_error *error);
int log_tree_inclusion(const struct atlas_log *log, const struct log_tree *tree, uint64_t index, uint64_t size,
                       struct atlas_buf *ret_proof, struct atlas_error *error);
int log_tree_consistency(const struct atlas_log *log, const struct log_tree *tree, uint64_t size1, uint64_t size2,
                         struct atlas_buf *ret_proof, struct atlas_error *error);

/* ATLAS_E_TILE unless the tree begins with the one of that size and root. `not_so` is the error where it does not. */
int log_tree_extends(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                     const struct atlas_digest *root, int not_so, const char *where, struct atlas_error *error);

/* ---- log_stage.c: the files of one commit */

struct log_stage { /* views into the bytes of a stage file */
    uint64_t old_size;
    uint64_t size;
    struct atlas_digest root;
    struct atlas_span rows;
    struct atlas_span contents;
};

struct log_stage_buf { /* one that is being made */
    struct atlas_buf head;     /* when it is finished: all before the contents */
    struct atlas_buf rows;
    struct atlas_buf contents;
    struct atlas_hasher hasher;
    uint32_t n;
};

#define LOG_STAGE_BUF_INIT ((struct log_stage_buf){.hasher = ATLAS_HASHER_INIT})
void log_stage_buf_release(struct log_stage_buf *b);
int log_stage_add(struct log_stage_buf *b, const struct atlas_tile *tile, struct atlas_span bytes,
                  struct atlas_error *error);
int log_stage_finish(struct log_stage_buf *b, uint64_t old_size, uint64_t size, const struct atlas_digest *root,
                     struct log_stage *ret_stage, struct atlas_error *error);

/* ATLAS_E_LOG: torn, or not a stage. */
int log_stage_read(struct atlas_span bytes, const char *where, struct log_stage *ret_stage,
                   struct atlas_error *error);

struct log_file {
    struct atlas_tile tile;
    char path[ATLAS_TILE_PATH_MAX];
    struct atlas_span bytes;
};

/* Cut the next file off the stage; false at the end. */
bool log_stage_next(struct log_stage *stage, struct log_file *ret_file);

#define LOG_STAGE_NAME_MAX 64u
void log_stage_name(uint64_t size, const struct atlas_digest *root, char ret_name[LOG_STAGE_NAME_MAX]);

/* Hash all of it again: every entry makes its hash in the tile above it, every full tile its hash in the next. Adds the
 * partial tiles that it has to the edge. ATLAS_E_TILE. */
int log_stage_check(const struct log_stage *stage, struct log_edge *edge, struct atlas_error *error);

/* ---- log_apply.c: the stage's files on their way to their public names */

#define LOG_FEW 8u

struct log_apply {
    const struct atlas_log *log;
    struct log_file *files;
    size_t n;
    bool again; /* a crash may have left names that are not on the disk */
    int fds[LOG_FEW];
    size_t n_begun;
    bool is_flushed;
};

int log_apply_init(struct log_apply *a, const struct atlas_log *log, const struct log_stage *stage, bool again,
                   struct atlas_error *error);
void log_apply_release(struct log_apply *a);

/* Where there are few files: write them under temporary names, and flush them, before the commit. The disk takes them
 * with the stage. */
int log_apply_begin(struct log_apply *a, struct atlas_error *error);
int log_apply_flush(struct log_apply *a, struct atlas_error *error);

/* After the commit: give every file its name, durably. One that is there already must be the same. */
int log_apply_finish(struct log_apply *a, struct atlas_error *error);

/* Remove the partial tiles that the stage's full ones make superfluous. */
void log_stage_tidy(const struct atlas_log *log, const struct log_stage *stage);

/* ---- log_build.c: the next tree */

/* The tree with these entries added to it, without its note, and the stage of its new files. bundle: the entries of
 * the tree's partial bundle; afterwards those of the next tree's. */
int log_build(const struct log_tree *tree, const struct atlas_span *entries, size_t n, struct atlas_buf *bundle,
              struct log_stage_buf *stage, struct log_tree **ret_next, struct atlas_error *error);

/* ---- log_head.c: signed heads */

struct log_head {
    uint64_t size;
    struct atlas_digest root;
    struct atlas_span text;
};

int log_head_open(const struct atlas_log *log, struct atlas_span note, const char *where, struct log_head *ret_head,
                  struct atlas_error *error);
int log_head_sign(const struct atlas_log *log, uint64_t size, const struct atlas_digest *root,
                  struct atlas_buf *ret_note, struct atlas_error *error);

/* In two steps, so that the files of a commit reach the disk together: the head itself, the public checkpoint, and the
 * memory. */
int log_head_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error);
int log_head_commit(const struct atlas_log *log, int *fd, struct atlas_error *error);
int log_checkpoint_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error);
int log_checkpoint_publish(const struct atlas_log *log, int *fd, struct atlas_error *error);
int log_memory_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error);
bool log_is_memory_begun(struct atlas_span name); /* one that a crash left */
int log_memory_finish(const struct atlas_log *log, int *fd, struct atlas_error *error);

/* ---- log_recover.c */

/* Under the lock: what the disk has, checked against everything that is remembered, and finished where a crash left
 * something. */
int log_adopt(struct atlas_log *log, struct atlas_error *error);

/* ---- log.c */

struct log_request;

struct atlas_log {
    char *path;
    char *memory;
    int root;
    int state;
    int lock; /* while it is held */
    int memory_dir;
    const char *memory_name; /* of memory */
    struct atlas_note_key key;
    struct atlas_note_signer *signer; /* NULL: read only */
    enum atlas_volume_kind volume;
    uint64_t wait_ms;
    int64_t process; /* that opened it */
    struct atlas_monitor *monitor;
    /* under the monitor */
    bool is_busy; /* a thread is at the disk; what follows it is its own */
    struct log_tree *tree;
    struct log_request *first;
    struct log_request *last;
    /* of the thread at the disk */
    bool is_broken;
    struct atlas_buf bundle; /* the partial bundle of the tree, where has_bundle */
    bool has_bundle;
};

/* "<path of the log>/<name>" for an error. */
#define LOG_WHERE_MAX 80u
void log_where(const struct atlas_log *log, const char *name, char out[LOG_WHERE_MAX]);

int log_lock(struct atlas_log *log, struct atlas_error *error);
void log_unlock(struct atlas_log *log);
int log_check_process(const struct atlas_log *log, struct atlas_error *error);

/* Between these a thread is alone at the disk. */
void log_enter(struct atlas_log *log);
void log_leave(struct atlas_log *log);

struct log_tree *log_hold_tree(struct atlas_log *log);
void log_drop_tree(struct atlas_log *log, struct log_tree *tree);
void log_set_tree(struct atlas_log *log, struct log_tree *tree);

#endif

/* line_file.h - a file that lines are added to, written by a thread of its own, so that nobody
 * waits for the disk. It is bounded: at half of its bound it is renamed to <path>.1, in the place
 * of the one before, and begun anew. Lines are not synced: a crash of the machine may lose the last
 * ones. */
#ifndef BASE_LINE_FILE_H
#define BASE_LINE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct line_file;

enum { LINE_FILE_WAITING_MAX = 1 << 20 }; /* bytes not yet written; what comes then is dropped */

/* Both files together take at most <max_bytes>, and a line. TG_EIO with *why (caller frees). */
TG_MUSTCHECK enum tg_err line_file_open(struct line_file **out, const char *path,
                                        uint64_t max_bytes, char **why);
/* Any thread; never waits for the disk. <line> without its end. */
void line_file_add(struct line_file *f, const char *line);
/* Lines that were dropped, because the disk was too slow or could not be written. Any thread. */
uint64_t line_file_dropped(struct line_file *f);
/* Writes what waits. NULL is fine. */
void line_file_close(struct line_file *f);

#endif

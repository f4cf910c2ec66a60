/* err.h - the one error type. Functions that can fail return enum tg_err (0 is success) and are
 * marked TG_MUSTCHECK; values come back through out-parameters. Programmer errors are TG_ASSERTed,
 * in release builds too. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define TG_MUSTCHECK         __attribute__((warn_unused_result))
#define TG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum tg_err {
    TG_OK = 0,
    TG_EINVAL,       /* malformed input or argument */
    TG_ERANGE,       /* well formed, but outside what is allowed */
    TG_ENOENT,       /* no such thing */
    TG_EEXIST,       /* there already */
    TG_ECONFLICT,    /* compare-and-set lost: somebody changed it first */
    TG_EBUSY,        /* in use, or a bounded queue is full */
    TG_ELIMIT,       /* over a configured bound */
    TG_ENOSPC,       /* no room on the disk */
    TG_EIO,          /* the disk or the network failed */
    TG_ECORRUPT,     /* stored bytes are not what was written */
    TG_ECLOSED,      /* closed meanwhile */
    TG_ETIMEOUT,     /* took too long */
    TG_EUNSUPPORTED, /* understood, but not served */
};

/* A short lower-case phrase, e.g. "no such thing"; never NULL. */
const char *err_text(enum tg_err e);

/* Stops the process with file, line and expression. For programmer errors only, never for what a
 * peer sent. */
_Noreturn void tg_assert_failed(const char *expr, const char *file, int line);
#define TG_ASSERT(e) ((e) ? (void)0 : tg_assert_failed(#e, __FILE__, __LINE__))

#endif

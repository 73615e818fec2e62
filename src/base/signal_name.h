/*
 * signal_name.h - the short name of a signal, for log lines
 *
 * What:      "SEGV" for SIGSEGV, "RTMIN+3" for the third real-time signal after
 *            the first. sigabbrev_np() of glibc 2.32 knows no real-time signal
 *            (its NULL would be printed as "(null)"), and neither Debian 11's
 *            glibc nor musl has it.
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a number that is no signal is "?".            Blocks: never.
 */
#ifndef BASE_SIGNAL_NAME_H
#define BASE_SIGNAL_NAME_H

#define SIGNAL_NAME_SIZE 24

/* Returns to. */
const char *signal_name(int number, char to[SIGNAL_NAME_SIZE]);

#endif

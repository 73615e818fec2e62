/*
 * signal_name.h - the short name of a signal, for log lines
 *
 * What:      "SEGV" for SIGSEGV, "RTMIN+3" for the third real-time signal after
 *            the first. glibc's sigabbrev_np() knows no real-time signals, and
 *            the glibc of Debian 11 does not have it.
 * Owner:     the caller has the memory.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: a number that is not a signal is "?".         Blocks: never.
 */
#ifndef TEXT_SIGNAL_NAME_H
#define TEXT_SIGNAL_NAME_H

#define SIGNAL_NAME_SIZE 24

/* Returns to. */
const char *signal_name(int number, char to[SIGNAL_NAME_SIZE]);

#endif

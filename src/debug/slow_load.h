/*
 * slow_load.h - an application that does not return from being loaded
 *
 * What:      one line in the log when a load takes SLOW_LOAD_MS: an application
 *            that ends with app.run() serves by itself instead, and nothing
 *            else would tell.
 * Owner:     the process; one load at a time.
 * Lifetime:  slow_load_begin() to slow_load_end().
 * Threads:   slow_load_begin(), slow_load_end(): the main thread, which loads.
 *            They start and end a thread: only for processes without a control
 *            thread, which calls slow_load_log() itself.
 * GIL:       not used.
 * Errors:    without a thread there is no line.
 * Blocks:    never.
 */
#ifndef DEBUG_SLOW_LOAD_H
#define DEBUG_SLOW_LOAD_H

enum { SLOW_LOAD_MS = 10000 };

/* What to do where that is the reason. */
#define SLOW_LOAD_RULE                                          \
    "a call that serves by itself, such as app.run(), must be " \
    "below if __name__ == \"__main__\""

/* app: for the message, such as config_application(). */
void slow_load_log(const char *app);

/* app must live until slow_load_end(). */
void slow_load_begin(const char *app);
void slow_load_end(void);

#endif

/*
 * process_title.h - what ps(1) shows of this process
 *
 * What:      writes a title such as "wsgi-cgi: worker app.py" over the words of
 *            the command line, which is where the kernel reads it
 *            (/proc/PID/cmdline). If there is too little room, it moves the
 *            strings of the environment behind them to the heap, and uses
 *            their first bytes as well: then /proc/PID/environ lacks the first
 *            variables. The name of the process (/proc/PID/comm) stays.
 * Owner:     the process; a forked child has a copy, and writes its own title.
 * Lifetime:  process_title_open() to the end of the process. Nobody may use
 *            argv after process_title_set().
 * Threads:   before the second one starts.                       GIL: not used.
 * Errors:    none: a title that does not fit is cut, or not set.
 * Blocks:    never.
 */
#ifndef PROCESS_PROCESS_TITLE_H
#define PROCESS_PROCESS_TITLE_H

/* argv and environment are those of main(), before anybody has changed the
 * environment. application: what the process serves; it is borrowed. */
void process_title_open(char **argv, char **environment,
                        const char *application);

/* role: "master", "worker", ... All of one length: then only the first title
 * moves the environment. Without process_title_open(): nothing. */
void process_title_set(const char *role);

#endif

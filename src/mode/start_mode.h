/*
 * start_mode.h - how the process was started, and so its mode
 *
 * What:      finds out whether it is a web server's CGI script, a spawner's
 *            FastCGI program, or one on its own. --explain prints it, --doctor
 *            shows it.
 * Owner:     main().
 * Lifetime:  the process. Nothing is written after the start.
 * Threads:   only at the start.                                  GIL: not used.
 * Errors:    a mode that is not found is MODE_AUTO.
 * Blocks:    never.
 */
#ifndef MODE_START_MODE_H
#define MODE_START_MODE_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"

#include <stdbool.h>

struct start_mode {
    /* Set by main(), before it changes anything: */
    unsigned was_closed; /* bit n: descriptor n was closed; now it is open */
    bool request_in_env;
    bool shares_stderr; /* CGI: descriptor 2 is the pipe of the response */
    bool was_kept_warm; /* start_mode_take_warm() */
    /* Set by start_mode_detect(): */
    enum config_mode mode; /* MODE_AUTO: not found */
    const char *why;       /* the reason for mode */
    bool fd0_listens;
    int inherited; /* how many LISTEN_FDS, from START_MODE_INHERITED on */
};

enum { START_MODE_INHERITED = 3 };

/* True where a CGI process with --keep-warm has started this one: CONFIG_WARM
 * says so, and descriptor 0 is the socket. Removes the variable, which neither
 * the application nor its children may see. */
CHECK_RESULT bool start_mode_take_warm(void);

/* Finds the mode. */
void start_mode_detect(struct start_mode *s, const struct config *config);

/* A word after APP does nothing. Where it can only be the administrator's, it
 * is an error, EX_USAGE; else a warning, 0. s: NULL with --check. */
CHECK_RESULT int start_mode_check_words(const struct start_mode *s,
                                        const struct config *config);

/* Prints --explain. EX_OK, or EX_USAGE if no mode was found, or for a word
 * after APP. */
CHECK_RESULT int start_mode_explain(const struct start_mode *s,
                                    const struct config *config, char **argv);

/* Collects for --doctor what its page shows of the process. Turns the options
 * off that need Python. */
void start_mode_examine(const struct start_mode *s, struct config *config,
                        char **argv, struct doctor_facts *ret);

#endif

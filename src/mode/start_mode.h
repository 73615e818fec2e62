/*
 * start_mode.h - how the process was started, and so what it is to be
 *
 * What:      a web server's CGI script, a spawner's FastCGI program, or one on its
 *            own; --explain prints it, --doctor shows it.
 * Owner:     main().
 * Threads:   at start only.                                      GIL: not used.
 * Errors:    see each.                                     Blocks: never.
 */
#ifndef MODE_START_MODE_H
#define MODE_START_MODE_H

#include "base/compiler.h"
#include "conf/config.h"
#include "doctor/doctor.h"

#include <stdbool.h>

struct start_mode {
    /* Of main(), before anything is changed: */
    unsigned was_closed; /* bit n: descriptor n was, and has been filled */
    bool request_in_env;
    bool shares_stderr; /* CGI: it is the pipe that the response goes to */
    /* Of start_mode_detect(): */
    enum config_mode mode; /* MODE_AUTO: could not be told */
    const char *why;       /* we think so */
    bool fd0_listens;
    int inherited; /* LISTEN_FDS that are ours, from START_MODE_INHERITED on */
};

enum { START_MODE_INHERITED = 3 };

/* Decides the mode, for once and all. */
void start_mode_detect(struct start_mode *s, const struct config *config);

/* Warns of a word that stands behind APP, where nothing is looked at. */
void start_mode_warn_ignored(const struct config *config);

/* --explain, to standard output: EX_OK, or EX_USAGE where there is no mode. */
CHECK_RESULT int start_mode_explain(const struct start_mode *s,
                                    const struct config *config);

/* --doctor: what its page says of the process. Takes from the configuration what
 * needs a Python. */
void start_mode_examine(const struct start_mode *s, struct config *config,
                        struct doctor_facts *ret);

#endif

/*
 * doctor.h - --doctor: a page that answers instead of the application
 *
 * What:      shows what the web server sent, what PEP 3333 requires, what was
 *            corrected and why, and which line of the server's configuration
 *            to change. Needs no Python. Of secret values it shows only the
 *            length.
 * Owner:     the request; the facts belong to the process.
 * Lifetime:  one request; the facts live as long as the process.
 * Threads:   the request's thread.                               GIL: not used.
 * Errors:    none: every request ends in a response or an abort.
 * Blocks:    while the body arrives and while the page is sent.
 * Standards: PEP 3333.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "base/compiler.h"
#include "gateway/request.h"

/* What the start found out; written once, before the first request. */
struct doctor_facts {
    const char *mode, *why;  /* what --explain shows */
    char fd[3][48];          /* what descriptors 0 to 2 are */
    const char *python;      /* version */
    const char *executable;  /* of that Python */
    int python_status;       /* 0, or the exit code of a failed start */
    const char *python_said; /* the reasons, separated by "; " */
    const char *warm;        /* what --keep-warm would do; NULL: not given */
};

/* Answers the request with the page. */
void doctor_answer(const struct doctor_facts *facts, struct request *q);

#endif

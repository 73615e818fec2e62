/*
 * doctor.h - --doctor: the page that stands in the place of an application
 *
 * What:      shows what the web server sent, what PEP 3333 wants, what was mended
 *            and why, and which line of the server's configuration to change.
 *            Made without Python. Values that are nobody's business are shown by
 *            their length only.
 * Owner:     the request; the facts are the process's.
 * Threads:   the request's thread.                               GIL: not used.
 * Errors:    none: ends in a response or an abort.
 * Blocks:    while the body arrives and the page leaves.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "base/compiler.h"
#include "gateway/request.h"

/* What is known at the start. */
struct doctor_facts {
    const char *mode, *why;  /* as --explain has them */
    char fd[3][48];          /* what descriptors 0 to 2 were */
    const char *python;      /* version */
    const char *executable;  /* which interpreter it would be */
    int python_status;       /* 0, or the exit code it would end with */
    const char *python_said; /* the reasons, between them ";" */
};

void doctor_answer(const struct doctor_facts *facts, struct request *q);

#endif

/*
 * process_title.c - what ps(1) shows of this process
 */
#include "process/process_title.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* The kernel puts all strings of argv, then all of the environment, one after
 * the other. */
static struct {
    char *begin;
    char *end;             /* of argv */
    char *environment_end; /* of the environment behind it, else == end */
    const char *application;
} title;

/* The end of those words that follow each other from `from` on. */
static char *
end_of_words(char **words, char *from)
{
    for (; *words == from; words++) {
        from += strlen(from) + 1;
    }
    return from;
}

/* error() and syslog() of libraries use the name, which is a part of argv[0] up
 * to now. */
static bool
keep_program_name(void)
{
    char *name = strdup(program_invocation_name);

    if (name == NULL) {
        return false;
    }
    char *slash = strrchr(name, '/');
    program_invocation_name = name;
    program_invocation_short_name = slash == NULL ? name : slash + 1;
    return true;
}

void
process_title_open(char **argv, char **environment, const char *application)
{
    assert(title.begin == NULL); /* once in a process */
    if (argv[0] == NULL || !keep_program_name()) {
        return;
    }
    title.begin = argv[0];
    title.end = end_of_words(argv, argv[0]);
    title.environment_end = end_of_words(environment, title.end);
    title.application = application;
}

static bool
is_behind_argv(const char *word)
{
    return word >= title.end && word < title.environment_end;
}

/* Moves the strings of the environment, so that their bytes are free. False: no
 * memory, and nothing has changed. */
static bool
move_environment(void)
{
    size_t n = 0, size = 0;

    for (; environ[n] != NULL; n++) {
        size += is_behind_argv(environ[n]) ? strlen(environ[n]) + 1 : 0;
    }
    char *to = malloc(size + 1); /* never freed: environ points into it */
    if (to == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_behind_argv(environ[i])) {
            size_t length = strlen(environ[i]) + 1;
            environ[i] = memcpy(to, environ[i], length);
            to += length;
        }
    }
    return true;
}

/* The variable of which the title has overwritten the beginning: the rest is
 * no variable any more. */
static void
clear_rest(char *from)
{
    if (from < title.environment_end) {
        memset(from, 0, strlen(from));
    }
}

void
process_title_set(const char *role)
{
    static const char format[] = "wsgi-cgi: %s %s";

    if (title.begin == NULL) {
        return;
    }
    assert(title.begin < title.end && title.end <= title.environment_end);
    int length = snprintf(NULL, 0, format, role, title.application);
    size_t room = (size_t)(title.end - title.begin);
    if (length >= 0 && (size_t)length >= room &&
        title.end < title.environment_end && move_environment()) {
        room = (size_t)(title.environment_end - title.begin);
        if (room > (size_t)length + 1) {
            room = (size_t)length + 1;
        }
        clear_rest(title.begin + room);
        title.end = title.begin + room;
    }
    memset(title.begin, 0, room);
    (void)snprintf(title.begin, room, format, role, title.application);
}

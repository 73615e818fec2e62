/*
 * signal_name.c - the short name of a signal, for log lines
 */
#include "text/signal_name.h"

#include "base/compiler.h"

#include <signal.h>
#include <stdio.h>

/* The signals that Linux has on every machine; other ones are "?". */
static const struct {
    int number;
    const char *name;
} names[] = {
    {SIGHUP, "HUP"},       {SIGINT, "INT"},   {SIGQUIT, "QUIT"},
    {SIGILL, "ILL"},       {SIGTRAP, "TRAP"}, {SIGABRT, "ABRT"},
    {SIGBUS, "BUS"},       {SIGFPE, "FPE"},   {SIGKILL, "KILL"},
    {SIGUSR1, "USR1"},     {SIGSEGV, "SEGV"}, {SIGUSR2, "USR2"},
    {SIGPIPE, "PIPE"},     {SIGALRM, "ALRM"}, {SIGTERM, "TERM"},
    {SIGCHLD, "CHLD"},     {SIGCONT, "CONT"}, {SIGSTOP, "STOP"},
    {SIGTSTP, "TSTP"},     {SIGTTIN, "TTIN"}, {SIGTTOU, "TTOU"},
    {SIGURG, "URG"},       {SIGXCPU, "XCPU"}, {SIGXFSZ, "XFSZ"},
    {SIGVTALRM, "VTALRM"}, {SIGPROF, "PROF"}, {SIGWINCH, "WINCH"},
    {SIGIO, "POLL"},       {SIGPWR, "PWR"},   {SIGSYS, "SYS"},
#ifdef SIGSTKFLT
    {SIGSTKFLT, "STKFLT"},
#endif
};

const char *
signal_name(int number, char to[SIGNAL_NAME_SIZE])
{
    const char *name = "?";
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].number == number) {
            name = names[i].name;
        }
    }
    if (number >= SIGRTMIN && number <= SIGRTMAX) {
        (void)snprintf(to, SIGNAL_NAME_SIZE, "RTMIN+%d", number - SIGRTMIN);
    }
    else {
        (void)snprintf(to, SIGNAL_NAME_SIZE, "%s", name);
    }
    return to;
}

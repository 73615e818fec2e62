/* Stand-ins until proc/status.c and proc/control.c are there. */
#include "proc/control.h"
#include "proc/status.h"
#define WEAK __attribute__((weak))
WEAK bool status_is_wanted(const struct config *c UNUSED, const struct request *q UNUSED) { return false; }
WEAK void status_answer(const struct config *c UNUSED, struct scoreboard *b UNUSED, struct request *q UNUSED) {}
WEAK int control_open(const struct config *c UNUSED, struct scoreboard *b UNUSED, struct control **r) { *r = NULL; return 69; }
WEAK int control_fd(const struct control *c UNUSED) { return -1; }
WEAK void control_run(struct control *c UNUSED) {}
WEAK void control_forget(struct control **c UNUSED) {}
WEAK void control_close(struct control **c UNUSED) {}

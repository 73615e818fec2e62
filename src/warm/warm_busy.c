/*
 * warm_busy.c - whether an instance takes no more requests for now
 */
#include "warm/warm_busy.h"

#include "base/buf.h"
#include "os/fd.h"
#include "warm/warm_connect.h"
#include "warm/warm_status.h"

/* Where the page does not say it, the instance is busy. */
static bool
is_zero(const char *page, const char *name)
{
    uint64_t value;

    return !warm_status_number(page, name, &value) || value == 0;
}

/* Before the master has forked a worker, none is free, and none is busy. */
static enum warm_busy
read_state(const char *page)
{
    if (is_zero(page, "total processes")) {
        return WARM_IS_STARTING;
    }
    return is_zero(page, "idle processes") &&
                   is_zero(page, "starting processes")
               ? WARM_IS_BUSY
               : WARM_TAKES_MORE;
}

enum warm_busy
warm_busy(const struct warm_folder *f, const struct warm_name *n)
{
    CLEANUP(fd_close) int fd = warm_connect(f, n, WARM_CONTROL);
    enum warm_busy state = WARM_IS_BUSY;
    struct buf page;

    buf_init(&page, WARM_STATUS_MAX);
    if (warm_connect_is_nobody(fd)) {
        state = WARM_IS_STARTING;
    }
    else if (fd >= 0 && warm_status_get(fd, "text", WARM_BUSY_MS, &page) == 0) {
        state = read_state(page.data);
    }
    buf_fini(&page);
    return state;
}

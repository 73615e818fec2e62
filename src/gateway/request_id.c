#include "gateway/request_id.h"

#include "base/clock.h"
#include "gateway/request.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

bool
request_id_is_good(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i], lower = (char)(c | 0x20);
        if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'z') &&
            c != '-' && c != '_') {
            return false;
        }
    }
    return n >= 1 && n <= REQUEST_ID_MAX;
}

/* Letters and digits that are hard to confuse. */
static const char digits[] = "23456789abcdefghjkmnpqrstuvwxyz";

static void
start(struct request_ids *s)
{
    unsigned char raw[REQUEST_ID_MADE];

    if (getrandom(raw, sizeof raw, GRND_NONBLOCK) != (ssize_t)sizeof raw) {
        /* No random bytes this early: time, process and thread must do. */
        uint64_t x = (uint64_t)clock_us() * 1000003u + (uint64_t)getpid();
        x = x * 1000003u + (uint64_t)(uintptr_t)s;
        for (size_t i = 0; i < sizeof raw; i++) {
            x = x * 6364136223846793005u + 1;
            raw[i] = (unsigned char)(x >> 56);
        }
    }
    for (size_t i = 0; i < sizeof raw; i++) {
        s->digit[i] = raw[i] % (sizeof digits - 1);
        s->text[i] = digits[s->digit[i]];
    }
}

/* Every request has an id, so it has to be cheap: each thread starts at a
 * random number of 59 bits and counts up. */
void
request_id_make(struct request_ids *s, char to[REQUEST_ID_MAX + 1])
{
    if (s->text[0] == '\0') {
        start(s);
    }
    memcpy(to, s->text, REQUEST_ID_MADE);
    for (size_t i = REQUEST_ID_MADE; i-- > 0;) {
        if (++s->digit[i] < sizeof digits - 1) {
            s->text[i] = digits[s->digit[i]];
            break;
        }
        s->digit[i] = 0;
        s->text[i] = digits[0];
    }
    to[REQUEST_ID_MADE] = '\0';
}

/* -- of a request ---------------------------------------------------------- */

/* The CGI process in front of an instance has lines of its own about the
 * request. */
static const struct param *
sent_id(const struct request *q)
{
    const struct param *p =
        q->config->is_warm ? params_get(&q->params, CONFIG_REQUEST_ID) : NULL;

    return p != NULL ? p : params_get(&q->params, "HTTP_X_REQUEST_ID");
}

static void
choose_id(struct request *q)
{
    const struct param *p = sent_id(q);

    if (p != NULL && request_id_is_good(p->value, p->value_len)) {
        memcpy(q->id, p->value, p->value_len);
        q->id[p->value_len] = '\0';
    }
    else {
        request_id_make(&q->ids, q->id);
    }
}

const char *
request_id(struct request *q)
{
    if (q->id[0] == '\0') {
        choose_id(q);
    }
    return q->id;
}

static _Thread_local struct request *running;

void
request_set_running(struct request *q)
{
    running = q;
}

const char *
request_running_id(void)
{
    return running == NULL ? NULL : request_id(running);
}

void
request_id_take(struct request *q)
{
    if (q->config->is_warm) {
        (void)request_id(q);
        params_drop(&q->params, CONFIG_REQUEST_ID);
    }
}

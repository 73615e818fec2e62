/*
 * load.c - a load generator that speaks FastCGI
 *
 * What:      keeps CONNECTIONS busy, each with one request after the other, on
 *            kept connections or on a new one for each request; compares every
 *            answer with the first; prints one JSON object: requests, failures,
 *            seconds, latencies in microseconds.
 * Threads:   one: it must cost less than what it measures. With epoll, and with
 *            poll() for a few new connections, which saves a call for each.
 * Exit code: 0; 1 where a request failed; 64 for wrong words.
 * Standards: FastCGI 1.0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = 8,
    BEGIN = 1,
    END = 3,
    PARAMS = 4,
    STDIN = 5,
    STDOUT = 6,
    INPUT = 256 << 10,
    RECORD_MAX = 65528,
    LATENCIES_MAX = 1 << 22,
    POLLED_MAX = 16,       /* connections */
    COMPARED_MAX = 2 << 20 /* bytes; of what is behind them only how many */
};

struct conn {
    int fd;
    uint32_t events; /* waited for */
    int64_t start_ns;
    size_t sent;    /* of the request */
    size_t record;  /* content of the record in hand still to come */
    size_t padding; /* the same of its padding */
    unsigned type;  /* of that record */
    uint8_t head[HEADER];
    size_t nhead;      /* bytes of a header that have come */
    uint8_t start[16]; /* of the response: its status */
    uint64_t body;     /* bytes of STDOUT */
    bool differs;      /* from the first answer */
};

static struct {
    const char *address;
    bool keep;
    unsigned connections, params, timeout_s;
    uint64_t requests;
    double seconds;
    const char *method, *path;
    uint64_t upload;
} asked = {.connections = 8,
           .params = 32,
           .timeout_s = 20,
           .method = "GET",
           .path = "/",
           .keep = false};

static struct sockaddr_storage peer;
static socklen_t peer_len;
static uint8_t *request;
static size_t request_len;
static int poller = -1; /* epoll, or < 0: poll() */
static uint64_t started, finished, failed, bytes, expected_body;
static uint8_t expected[COMPARED_MAX]; /* the first answer */
static uint32_t *latencies;
static size_t nlatencies;
static int64_t begin_ns, end_ns;
static bool is_over;

static int64_t
now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
die(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(EX_OSERR);
}

/* -- the request ------------------------------------------------------------ */

static void
add(const void *p, size_t n)
{
    static size_t room;

    if (request_len + n > room) {
        room = (request_len + n) * 2;
        request = realloc(request, room);
        if (request == NULL) {
            die("memory");
        }
    }
    memcpy(request + request_len, p, n);
    request_len += n;
}

static void
add_record(unsigned type, const void *p, size_t n)
{
    uint8_t h[HEADER] = {1, (uint8_t)type, 0, 1, (uint8_t)(n >> 8), (uint8_t)n};

    add(h, sizeof h);
    add(p, n);
}

static size_t
pair(uint8_t *to, const char *name, const char *value)
{
    size_t nname = strlen(name), nvalue = strlen(value);

    to[0] = (uint8_t)nname; /* all of ours are shorter than 128 */
    to[1] = (uint8_t)nvalue;
    memcpy(to + 2, name, nname);
    memcpy(to + 2 + nname, value, nvalue);
    return 2 + nname + nvalue;
}

/* What nginx sends for a browser: 32 variables. */
static const char *const variables[][2] = {
    {"QUERY_STRING", ""},
    {"REQUEST_URI", "/"},
    {"SERVER_PROTOCOL", "HTTP/1.1"},
    {"SERVER_NAME", "localhost"},
    {"SERVER_PORT", "80"},
    {"CONTENT_TYPE", ""},
    {"DOCUMENT_URI", "/"},
    {"DOCUMENT_ROOT", "/var/www/html"},
    {"REQUEST_SCHEME", "http"},
    {"GATEWAY_INTERFACE", "CGI/1.1"},
    {"SERVER_SOFTWARE", "nginx/1.22.1"},
    {"REMOTE_ADDR", "127.0.0.1"},
    {"REMOTE_PORT", "51234"},
    {"SERVER_ADDR", "127.0.0.1"},
    {"REDIRECT_STATUS", "200"},
    {"HTTP_HOST", "localhost"},
    {"HTTP_CONNECTION", "keep-alive"},
    {"HTTP_CACHE_CONTROL", "max-age=0"},
    {"HTTP_UPGRADE_INSECURE_REQUESTS", "1"},
    {"HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) "
                        "Gecko/20100101 Firefox/115.0"},
    {"HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,"
                    "image/avif,image/webp,*/*;q=0.8"},
    {"HTTP_SEC_FETCH_SITE", "none"},
    {"HTTP_SEC_FETCH_MODE", "navigate"},
    {"HTTP_SEC_FETCH_DEST", "document"},
    {"HTTP_ACCEPT_ENCODING", "gzip, deflate, br"},
    {"HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.9"},
    {"HTTP_COOKIE", "sessionid=abcdefghijklmnop; csrftoken=0123456789"},
};

static void
make_request(const char *script)
{
    const uint8_t begin[8] = {0, 1, asked.keep};
    uint8_t params[8192];
    char digits[24];
    size_t n = 0, given = sizeof variables / sizeof variables[0];

    (void)snprintf(digits, sizeof digits, "%" PRIu64, asked.upload);
    n += pair(params + n, "REQUEST_METHOD", asked.method);
    n += pair(params + n, "CONTENT_LENGTH", asked.upload > 0 ? digits : "");
    n += pair(params + n, "SCRIPT_NAME", "");
    n += pair(params + n, "PATH_INFO", asked.path);
    n += pair(params + n, "SCRIPT_FILENAME", script);
    for (size_t i = 0; i + 5 < asked.params && i < given; i++) {
        n += pair(params + n, variables[i][0], variables[i][1]);
    }
    add_record(BEGIN, begin, sizeof begin);
    add_record(PARAMS, params, n);
    add_record(PARAMS, NULL, 0);
    uint8_t *piece = calloc(1, RECORD_MAX);
    for (uint64_t left = asked.upload; left > 0;) {
        size_t some = left < RECORD_MAX ? (size_t)left : RECORD_MAX;
        add_record(STDIN, piece, some);
        left -= some;
    }
    free(piece);
    add_record(STDIN, NULL, 0);
}

/* -- the address ------------------------------------------------------------ */

static void
find_peer(const char *address)
{
    const char *colon = strrchr(address, ':');

    if (address[0] == '/' || strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un *u = (void *)&peer;
        char *path = strdup(address + (address[0] == '/' ? 0 : 5));
        if (path == NULL) {
            die("memory");
        }
        /* From its folder: each connect() walks the whole path. */
        char *name = strrchr(path, '/');
        if (name != NULL) {
            *name = '\0';
            if (chdir(name == path ? "/" : path) < 0) {
                die(address);
            }
        }
        if (strlen(name == NULL ? path : name + 1) >= sizeof u->sun_path) {
            errno = ENAMETOOLONG;
            die(address);
        }
        u->sun_family = AF_UNIX;
        (void)snprintf(u->sun_path, sizeof u->sun_path, "%s",
                       name == NULL ? path : name + 1);
        peer_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                               strlen(u->sun_path) + 1);
        free(path);
        return;
    }
    struct sockaddr_in *in = (void *)&peer;
    char host[64] = "";
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)atoi(colon == NULL ? "0" : colon + 1));
    (void)snprintf(host, sizeof host, "%.*s",
                   colon == NULL ? 0 : (int)(colon - address), address);
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1) {
        (void)fprintf(stderr,
                      "load: invalid value \"%s\": expected unix:PATH, /PATH "
                      "and IPV4:PORT\n",
                      address);
        exit(EX_USAGE);
    }
    peer_len = sizeof *in;
}

/* -- connections ------------------------------------------------------------ */

static void begin(struct conn *c);

static void
leave(struct conn *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = -1;
}

static void
fail(struct conn *c, const char *why)
{
    static unsigned told;

    if (told++ < 3) {
        (void)fprintf(stderr, "load: request %" PRIu64 ": %s\n",
                      finished + failed, why);
    }
    failed++;
    if (asked.seconds > 0 && now_ns() >= end_ns) {
        is_over = true;
    }
    leave(c);
    begin(c);
}

static void
watch(struct conn *c, uint32_t events, int op)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    c->events = events;
    if (poller >= 0 && epoll_ctl(poller, op, c->fd, &ev) < 0) {
        die("epoll_ctl");
    }
}

static bool
open_conn(struct conn *c)
{
    const int on = 1;

    c->fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    /* Blocking: a full backlog of a unix socket says EAGAIN otherwise. */
    if (connect(c->fd, (struct sockaddr *)&peer, peer_len) < 0) {
        return false;
    }
    if (peer.ss_family == AF_INET) {
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return true;
}

static void
push(struct conn *c, bool is_new)
{
    while (c->sent < request_len) {
        ssize_t n = send(c->fd, request + c->sent, request_len - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                /* An answer may be there all the same; reading will tell. */
                c->sent = request_len;
            }
            break;
        }
        c->sent += (size_t)n;
    }
    uint32_t events = EPOLLIN | (c->sent < request_len ? EPOLLOUT : 0);
    if (is_new || asked.upload > 0) {
        watch(c, events, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
    }
}

static void
begin(struct conn *c)
{
    bool is_new = c->fd < 0;

    if (is_over || (asked.requests > 0 && started >= asked.requests)) {
        leave(c);
        return;
    }
    started++;
    *c = (struct conn){.fd = c->fd, .start_ns = now_ns()};
    if (is_new && !open_conn(c)) {
        die("connect");
    }
    push(c, is_new);
}

/* The first answer is kept, each later one compared with it. */
static void
compare_body(struct conn *c, const uint8_t *p, size_t n)
{
    size_t at = c->body < COMPARED_MAX ? (size_t)c->body : COMPARED_MAX;
    size_t some = n < COMPARED_MAX - at ? n : COMPARED_MAX - at;

    if (c->body < sizeof c->start) {
        size_t k = sizeof c->start - c->body;
        memcpy(c->start + c->body, p, k < n ? k : n);
    }
    if (finished == 0) {
        memcpy(expected + at, p, some);
    }
    else if (memcmp(expected + at, p, some) != 0) {
        c->differs = true;
    }
    c->body += n;
}

static void
end_one(struct conn *c)
{
    int64_t now = now_ns();
    int64_t us = (now - c->start_ns) / 1000;

    if (memcmp(c->start, "Status: 200", 11) != 0 &&
        memcmp(c->start, "Content-type", 12) != 0 &&
        memcmp(c->start, "Content-Type", 12) != 0) {
        fail(c, "the status is not 200");
        return;
    }
    if (finished == 0) {
        expected_body = c->body;
    }
    if (c->differs || c->body != expected_body) {
        fail(c, "another answer than the first");
        return;
    }
    bytes += c->body;
    if (nlatencies < LATENCIES_MAX) {
        latencies[nlatencies++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    }
    finished++;
    if (asked.seconds > 0 && now >= end_ns) {
        is_over = true;
    }
    if (!asked.keep) {
        leave(c);
    }
    begin(c);
}

/* True where the request has ended. */
static bool
take(struct conn *c, const uint8_t *p, size_t n)
{
    while (n > 0) {
        if (c->record > 0) {
            size_t k = c->record < n ? c->record : n;
            if (c->type == STDOUT) {
                compare_body(c, p, k);
            }
            c->record -= k;
            p += k;
            n -= k;
        }
        else if (c->padding > 0) {
            size_t k = c->padding < n ? c->padding : n;
            c->padding -= k;
            p += k;
            n -= k;
        }
        else {
            c->head[c->nhead++] = *p++;
            n--;
            if (c->nhead < HEADER) {
                continue;
            }
            c->nhead = 0;
            c->type = c->head[1];
            c->record = (size_t)c->head[4] << 8 | c->head[5];
            c->padding = c->head[6];
        }
        if (c->type == END && c->record == 0 && c->padding == 0 &&
            c->nhead == 0) {
            return true;
        }
    }
    return false;
}

static void
receive(struct conn *c)
{
    static uint8_t input[INPUT];

    for (;;) {
        ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            fail(c, n == 0 ? "the connection ended early" : strerror(errno));
            return;
        }
        if (take(c, input, (size_t)n)) {
            end_one(c);
            return;
        }
        if ((size_t)n < sizeof input) {
            return;
        }
    }
}

/* poll() in the words of epoll; the bits have the same values. */
static int
poll_all(struct conn *all, struct epoll_event *events)
{
    struct pollfd fds[POLLED_MAX];
    int n = 0;

    for (unsigned i = 0; i < asked.connections; i++) {
        fds[i] =
            (struct pollfd){.fd = all[i].fd, .events = (short)all[i].events};
    }
    int r = poll(fds, asked.connections, (int)asked.timeout_s * 1000);
    for (unsigned i = 0; r > 0 && i < asked.connections; i++) {
        if (fds[i].revents != 0) {
            events[n].events = (uint32_t)fds[i].revents;
            events[n++].data.ptr = &all[i];
        }
    }
    return r < 0 ? r : n;
}

static void
run(void)
{
    struct conn *all = calloc(asked.connections, sizeof *all);
    struct epoll_event events[64];

    if (all == NULL) {
        die("memory");
    }
    if (asked.keep || asked.connections > POLLED_MAX) {
        poller = epoll_create1(EPOLL_CLOEXEC);
        if (poller < 0) {
            die("epoll");
        }
    }
    for (unsigned i = 0; i < asked.connections; i++) {
        all[i].fd = -1;
    }
    begin(&all[0]); /* alone: its answer is what the others are compared with */
    for (unsigned begun = 1;;) {
        int n = poller < 0 ? poll_all(all, events)
                           : epoll_wait(poller, events, 64,
                                        (int)asked.timeout_s * 1000);
        if (n == 0 && started > finished + failed) {
            (void)fprintf(stderr, "load: nothing came for %u s\n",
                          asked.timeout_s);
            failed += started - finished - failed;
        }
        if (n < 0 && errno != EINTR) {
            die("waiting");
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if ((events[i].events & EPOLLOUT) != 0) {
                push(c, false);
            }
            if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0 && c->fd >= 0) {
                receive(c);
            }
        }
        for (; finished > 0 && begun < asked.connections; begun++) {
            begin(&all[begun]);
        }
        if (started == finished + failed) {
            break;
        }
    }
    free(all);
}

/* -- words and figures ------------------------------------------------------ */

static int
compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t
quantile(double q)
{
    return nlatencies == 0 ? 0
                           : latencies[(size_t)(q * (double)(nlatencies - 1))];
}

static void
report(double seconds)
{
    qsort(latencies, nlatencies, sizeof *latencies, compare);
    (void)printf("{\"requests\": %" PRIu64 ", \"failed\": %" PRIu64
                 ", \"seconds\": %.6f, \"bytes\": %" PRIu64
                 ", \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, "
                 "\"max_us\": %u, \"body\": %" PRIu64 "}\n",
                 finished, failed, seconds, bytes, quantile(.5), quantile(.99),
                 quantile(.999), quantile(1), expected_body);
}

static void
usage(void)
{
    (void)fputs("usage: load [-k] [-c CONNECTIONS] [-n REQUESTS | -d SECONDS] "
                "[-p PARAMS]\n"
                "            [-m METHOD] [-u PATH] [-b UPLOAD_BYTES] "
                "[-f SCRIPT_FILENAME] [-t TIMEOUT_S] ADDRESS\n"
                "ADDRESS is unix:PATH, /PATH or IPV4:PORT; -k keeps "
                "connections.\n",
                stderr);
    exit(EX_USAGE);
}

int
main(int argc, char **argv)
{
    const char *script = "/var/www/html/app";
    int c;

    while ((c = getopt(argc, argv, "kc:n:d:p:m:u:b:f:t:")) != -1) {
        switch (c) {
        case 'k':
            asked.keep = true;
            break;
        case 'c':
            asked.connections = (unsigned)atoi(optarg);
            break;
        case 'n':
            asked.requests = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            asked.seconds = strtod(optarg, NULL);
            break;
        case 'p':
            asked.params = (unsigned)atoi(optarg);
            break;
        case 'm':
            asked.method = optarg;
            break;
        case 'u':
            asked.path = optarg;
            break;
        case 'b':
            asked.upload = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            script = optarg;
            break;
        case 't':
            asked.timeout_s = (unsigned)atoi(optarg);
            break;
        default:
            usage();
        }
    }
    if (optind + 1 != argc || asked.connections == 0 ||
        (asked.requests == 0 && asked.seconds <= 0) ||
        strlen(asked.path) > 127 || strlen(script) > 127) {
        usage();
    }
    find_peer(argv[optind]);
    make_request(script);
    latencies = malloc(LATENCIES_MAX * sizeof *latencies);
    if (latencies == NULL) {
        die("memory");
    }
    begin_ns = now_ns();
    end_ns = begin_ns + (int64_t)(asked.seconds * 1e9);
    run();
    report((double)(now_ns() - begin_ns) / 1e9);
    return failed > 0 ? 1 : 0;
}

/*
 * floor.c - accept, read, write, close: what the kernel alone costs
 *
 * Parses nothing. Answers each connection with one response of the size in
 * argv[1] (12 = hello; with a file in argv[2]: that file, by sendfile), in
 * FastCGI records so that the same client can read it. The socket is on
 * descriptor 0.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 65528 };

static char input[1 << 20], *answer;
static size_t len;

static void
record(unsigned type, const void *p, size_t n)
{
    uint8_t h[8] = {1, (uint8_t)type, 0, 1, (uint8_t)(n >> 8), (uint8_t)n};

    memcpy(answer + len, h, 8);
    memcpy(answer + len + 8, p, n);
    len += 8 + n;
}

/* The body of a file, each record's header and then its bytes. */
static int
send_file(int to, int fd, off_t size)
{
    for (off_t at = 0; at < size;) {
        off_t n = size - at < PIECE ? size - at : PIECE;
        uint8_t h[8] = {1, 6, 0, 1, (uint8_t)(n >> 8), (uint8_t)n};
        if (send(to, h, 8, MSG_MORE) != 8) {
            return -1;
        }
        for (off_t end = at + n; at < end;) {
            if (sendfile(to, fd, &at, (size_t)(end - at)) <= 0) {
                return -1;
            }
        }
    }
    return 0;
}

static void
send_all(int to, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(to, p, n, MSG_NOSIGNAL);
        if (k <= 0) {
            return;
        }
        p += k;
        n -= (size_t)k;
    }
}

int
main(int argc, char **argv)
{
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 12, at = 0;
    int file = argc > 2 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    static const char end[8];
    struct stat st = {.st_size = 0};
    char head[128], *body = calloc(1, size + 1);

    answer = malloc(size + size / PIECE * 8 + 512);
    if (answer == NULL || body == NULL || (file >= 0 && fstat(file, &st) < 0)) {
        return 1;
    }
    size = file >= 0 ? 0 : size;
    memset(body, 'x', size);
    int n = snprintf(head, sizeof head,
                     "Status: 200 OK\r\nContent-Type: text/plain\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     file >= 0 ? (size_t)st.st_size : size);
    record(6, head, (size_t)n);
    for (; at < size; at += PIECE) {
        record(6, body + at, size - at < PIECE ? size - at : PIECE);
    }
    size_t before_end = len;
    record(6, "", 0);
    record(3, end, 8);
    for (;;) {
        int fd = accept4(0, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        if (recv(fd, input, sizeof input, 0) > 0) {
            if (file < 0) {
                send_all(fd, answer, len);
            }
            else {
                send_all(fd, answer, before_end);
                if (send_file(fd, file, st.st_size) == 0) {
                    send_all(fd, answer + before_end, len - before_end);
                }
            }
        }
        (void)close(fd);
    }
}

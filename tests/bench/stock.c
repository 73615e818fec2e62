/*
 * stock.c - hello on stock libfcgi: what a C program gains by the library alone
 *
 * The loop of the library's own manual: FCGX_Accept_r(), two writes,
 * FCGX_Finish_r(). The socket is on descriptor 0.
 */
#include <fcgiapp.h>

int
main(void)
{
    FCGX_Request r;

    if (FCGX_Init() != 0 || FCGX_InitRequest(&r, 0, 0) != 0) {
        return 1;
    }
    while (FCGX_Accept_r(&r) == 0) {
        FCGX_PutS("Status: 200 OK\r\nContent-Type: text/plain\r\n"
                  "Content-Length: 12\r\n\r\n",
                  r.out);
        FCGX_PutS("Hello world\n", r.out);
        FCGX_Finish_r(&r);
    }
    return 0;
}

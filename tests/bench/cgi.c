/* cgi.c - hello as a CGI program in C: what starting a process costs */
#include <stdio.h>

int
main(void)
{
    return puts("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nHello "
                "world") < 0;
}

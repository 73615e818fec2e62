/*
 * embed.c - an embedder that initialises Python, runs one file and exits
 *
 * What a CGI gateway written in C cannot do without. The file is argv[1].
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

int
main(int argc, char **argv)
{
    FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;

    if (f == NULL) {
        return 66;
    }
    Py_Initialize();
    int r = PyRun_SimpleFile(f, argv[1]);
    (void)fflush(NULL);
    _exit(r != 0);
}

/*
 * embed.c - an embedder that initialises Python, runs one file and exits
 *
 * What a CGI gateway written in C cannot do without. The file is argv[1], the
 * interpreter that it stands for argv[2].
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

int
main(int argc, char **argv)
{
    FILE *f = argc > 2 ? fopen(argv[1], "r") : NULL;
    PyConfig config;

    if (f == NULL) {
        return 66;
    }
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    if (PyStatus_Exception(
            PyConfig_SetBytesString(&config, &config.program_name, argv[2])) ||
        PyStatus_Exception(Py_InitializeFromConfig(&config))) {
        return 70;
    }
    PyConfig_Clear(&config);
    int r = PyRun_SimpleFile(f, argv[1]);
    (void)fflush(NULL);
    _exit(r != 0);
}

/*
 * file_wrapper.c - wsgi.file_wrapper
 *
 * Only a file whose read() is known to return the bytes of its descriptor may
 * be sent past Python: gzip.GzipFile, for example, has a fileno() too.
 */
#include "wsgi/file_wrapper.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { BLOCK_SIZE = 8192 };

typedef struct {
    PyObject_HEAD PyObject *filelike;
    PyObject *blksize;     /* neither changes before the object is destroyed */
    atomic_bool is_closed; /* any thread */
} FileWrapperObject;

static PyObject *
file_wrapper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char filelike_name[] = "filelike", blksize_name[] = "blksize";
    static char *names[] = {filelike_name, blksize_name, NULL};
    PyObject *filelike;
    Py_ssize_t blksize = BLOCK_SIZE;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:FileWrapper", names,
                                     &filelike, &blksize)) {
        return NULL;
    }
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    FileWrapperObject *w = (FileWrapperObject *)self;
    w->filelike = Py_NewRef(filelike);
    w->blksize = PyLong_FromSsize_t(blksize > 0 ? blksize : BLOCK_SIZE);
    if (w->blksize == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static PyObject *
file_wrapper_next(PyObject *self)
{
    const FileWrapperObject *w = (FileWrapperObject *)self;
    CLEANUP(py_clear)
    PyObject *block = py_call(w->filelike, "read", w->blksize);

    if (block == NULL) {
        return NULL;
    }
    int more = PyObject_IsTrue(block);
    return more > 0 ? py_steal(&block) : NULL;
}

/* Closes the file, once: both middleware and the gateway may call this. A file
 * without close() needs none. */
static PyObject *
file_wrapper_close(PyObject *self, PyObject *unused)
{
    FileWrapperObject *w = (FileWrapperObject *)self;
    CLEANUP(py_clear) PyObject *name = NULL;
    CLEANUP(py_clear) PyObject *close = NULL;

    (void)unused;
    if (atomic_exchange(&w->is_closed, true)) {
        Py_RETURN_NONE;
    }
    name = PyUnicode_InternFromString("close");
    if (name == NULL ||
        PyObject_GetOptionalAttr(w->filelike, name, &close) < 0) {
        return NULL;
    }
    return close == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(close);
}

/* -- sendfile -------------------------------------------------------------- */

static bool
is_exactly(PyObject *o, PyObject *io, const char *type_name)
{
    CLEANUP(py_clear) PyObject *type = py_attr(io, type_name);

    return type != NULL && (PyObject *)Py_TYPE(o) == type;
}

/* True for a FileIO, or a BufferedReader over one. */
static bool
is_plain_file(PyObject *filelike)
{
    CLEANUP(py_clear) PyObject *io = PyImport_ImportModule("_io");

    if (io == NULL) {
        return false;
    }
    if (is_exactly(filelike, io, "FileIO")) {
        return true;
    }
    if (!is_exactly(filelike, io, "BufferedReader")) {
        return false;
    }
    CLEANUP(py_clear) PyObject *raw = py_attr(filelike, "raw");
    return raw != NULL && is_exactly(raw, io, "FileIO");
}

/* Starts at the file's logical position: a BufferedReader has read ahead of
 * it. */
static bool
get_span(PyObject *filelike, struct file_span *ret_span)
{
    struct stat st;
    CLEANUP(py_clear)
    PyObject *readable = py_call(filelike, "readable", NULL);
    CLEANUP(py_clear)
    PyObject *position =
        readable != Py_True ? NULL : py_call(filelike, "tell", NULL);
    int fd = position == NULL ? -1 : PyObject_AsFileDescriptor(filelike);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    long long offset = PyLong_AsLongLong(position);
    if (offset < 0 || offset >= st.st_size) {
        return false; /* at the end; or in /proc, where the size is 0 */
    }
    assert(fd >= 0);
    *ret_span = (struct file_span){
        .fd = fd, .offset = offset, .count = (uint64_t)(st.st_size - offset)};
    return true;
}

int
file_wrapper_span(PyTypeObject *type, PyObject *wrapper,
                  struct file_span *ret_span)
{
    if (Py_TYPE(wrapper) != type) {
        return 0;
    }
    assert(!PyErr_Occurred());
    PyObject *filelike = ((FileWrapperObject *)wrapper)->filelike;
    bool found = is_plain_file(filelike) && get_span(filelike, ret_span);
    PyErr_Clear(); /* a closed file or a pipe: read() gives the better error */
    return found;
}

/* -- the type -------------------------------------------------------------- */

static int
file_wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((FileWrapperObject *)self)->filelike);
    return 0;
}

static int
file_wrapper_clear(PyObject *self)
{
    Py_CLEAR(((FileWrapperObject *)self)->filelike);
    return 0;
}

static void
file_wrapper_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)file_wrapper_clear(self);
    Py_CLEAR(((FileWrapperObject *)self)->blksize);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef file_wrapper_methods[] = {
    {"close", file_wrapper_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef file_wrapper_members[] = {
    {"filelike", Py_T_OBJECT_EX, offsetof(FileWrapperObject, filelike),
     Py_READONLY, NULL},
    {"blksize", Py_T_OBJECT_EX, offsetof(FileWrapperObject, blksize),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    file_wrapper_doc,
    "FileWrapper(filelike, blksize=8192)\n"
    "--\n"
    "\n"
    "wsgi.file_wrapper: an iterator over filelike.read(blksize), in bytes.\n"
    "\n"
    "close() closes filelike. A plain file may be sent by sendfile()\n"
    "(PEP 3333, Optional Platform-Specific File Handling).");

static PyType_Slot file_wrapper_slots[] = {
    {Py_tp_new, file_wrapper_new},
    {Py_tp_dealloc, file_wrapper_dealloc},
    {Py_tp_traverse, file_wrapper_traverse},
    {Py_tp_clear, file_wrapper_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, file_wrapper_next},
    {Py_tp_methods, file_wrapper_methods},
    {Py_tp_members, file_wrapper_members},
    {Py_tp_doc, (void *)(uintptr_t)file_wrapper_doc},
    {0, NULL},
};

static PyType_Spec file_wrapper_spec = {
    .name = "_wsgi_cgi.FileWrapper",
    .basicsize = (int)sizeof(FileWrapperObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = file_wrapper_slots,
};

PyObject *
file_wrapper_type(PyObject *module)
{
    return PyType_FromModuleAndSpec(module, &file_wrapper_spec, NULL);
}

/*
 * warm_name.c - the names of an instance's files
 *
 * The hash is FNV-1a of 64 bits (Fowler, Noll, Vo), since it must be the same in
 * each process. Nobody gains anything by a collision: all that is hashed
 * belongs to the user whose instances these are.
 */
#include "warm/warm_name.h"

#include "conf/argv.h"
#include "os/file_id.h"
#include "os/path_absolute.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static void
add(uint64_t *h, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;

    for (size_t i = 0; i < n; i++) {
        *h = (*h ^ b[i]) * FNV_PRIME;
    }
}

/* With its end, so that "ab" and "c" differ from "a" and "bc". */
static void
add_text(uint64_t *h, const char *text)
{
    add(h, text, strlen(text) + 1);
}

static void
add_stamp(uint64_t *h, const char *path)
{
    struct file_id id = file_id_of_path(path);

    add(h, &id.device, sizeof id.device);
    add(h, &id.inode, sizeof id.inode);
    add(h, &id.size, sizeof id.size);
    add(h, &id.mtime_ns, sizeof id.mtime_ns);
}

static void
write_hash(uint64_t h, char to[WARM_HASH_SIZE])
{
    (void)snprintf(to, WARM_HASH_SIZE, "%016" PRIx64, h);
}

static int
fail(char *why, int err, const char *what)
{
    (void)snprintf(why, WARM_WHY_SIZE, "%s: %s", what, strerror(-err));
    return err;
}

/* The file of APP, as it is called: where sites share a script by links, each
 * has its own current folder, __file__ and tmp/restart.txt, and a link that is
 * set to another file makes another version. "" where APP is a module or
 * missing. */
static int
find_script(const struct config *config, char to[PATH_MAX], char *why)
{
    struct stat st;

    to[0] = '\0';
    if (config->app == NULL || stat(config->app, &st) < 0 ||
        !S_ISREG(st.st_mode)) {
        return 0;
    }
    int e = path_absolute(config->app, to, PATH_MAX);
    return e < 0 ? fail(why, e, config->app) : 0;
}

/* What it is: a script, or what a module's name means in this folder. */
static int
add_application(uint64_t *h, const struct config *config, const char *script,
                char *why)
{
    char folder[PATH_MAX];

    if (script[0] != '\0') {
        add_text(h, script);
        return 0;
    }
    if (getcwd(folder, sizeof folder) == NULL) {
        return fail(why, -errno, "the current folder");
    }
    add_text(h, folder);
    add_text(h, config->app != NULL ? config->app : "");
    add_text(h, config->scripts_in != NULL ? config->scripts_in : "");
    return 0;
}

/* Where reload/file_watcher.c looks for it. */
static void
add_restart_file(uint64_t *h, const char *script)
{
    char path[PATH_MAX + sizeof "/tmp/restart.txt"];
    const char *slash = strrchr(script, '/');
    int folder = slash == NULL ? 0 : (int)(slash + 1 - script);

    (void)snprintf(path, sizeof path, "%.*stmp/restart.txt", folder, script);
    add_stamp(h, path);
}

static int
add_program(uint64_t *h, char *why)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n < 0) {
        return fail(why, -errno, "/proc/self/exe");
    }
    path[n] = '\0';
    add_text(h, path);
    return 0;
}

/* Those that answer instead of APP do not count: they ask for the name of the
 * instance that serves without them. */
static void
add_word(uint64_t *h, const char *word)
{
    static const char *const not_serving[] = {"--check", "--explain",
                                              "--doctor"};

    for (size_t i = 0; i < ARRAY_SIZE(not_serving); i++) {
        if (strcmp(word, not_serving[i]) == 0) {
            return;
        }
    }
    add_text(h, word);
}

static void
add_words(uint64_t *h, const char *text)
{
    struct argv_words words;

    if (argv_split(text, &words) < 0) {
        add_text(h, text); /* no memory */
        return;
    }
    for (size_t i = 0; i < words.n; i++) {
        add_word(h, words.v[i]);
    }
    argv_words_fini(&words);
}

/* The kernel passes a #! line as one word. */
static void
add_options(uint64_t *h, const struct config *config, char **argv)
{
    if (config->is_shebang) {
        add_words(h, argv[1]);
        return;
    }
    for (int i = 1; i < config->options_end; i++) {
        add_word(h, argv[i]);
    }
}

/* The options of a #! line are part of the script: another version of it may
 * have others. */
static void
add_start(uint64_t *h, const struct config *config, char **argv)
{
    const char *text = getenv(CONFIG_OPTIONS);

    if (config->is_shebang) {
        add_text(h, "#!");
    }
    else {
        add_options(h, config, argv);
    }
    add_text(h, ""); /* "--threads 2" there and here differ */
    add_words(h, text != NULL ? text : "");
}

int
warm_name_make(struct warm_name *ret, const struct config *config, char **argv,
               char why[WARM_WHY_SIZE])
{
    char ids[48];
    char script[PATH_MAX];
    uint64_t h = FNV_START;
    int e = find_script(config, script, why);

    (void)snprintf(ids, sizeof ids, "%lu:%lu", (unsigned long)geteuid(),
                   (unsigned long)getegid());
    add_text(&h, ids);
    add_start(&h, config, argv);
    e = e == 0 ? add_application(&h, config, script, why) : e;
    e = e == 0 ? add_program(&h, why) : e;
    write_hash(h, ret->script);
    add_options(&h, config, argv);
    add_stamp(&h, script);
    add_stamp(&h, "/proc/self/exe");
    add_restart_file(&h, script);
    write_hash(h, ret->version);
    return e;
}

void
warm_name_entry(const struct warm_name *n, const char *end,
                char to[WARM_ENTRY_SIZE])
{
    (void)snprintf(to, WARM_ENTRY_SIZE, "%s-%s%s", n->script, n->version, end);
}

bool
warm_name_parse(struct warm_name *ret, const char *entry, const char *end)
{
    static const char digits[] = "0123456789abcdef";
    const size_t n = WARM_HASH_SIZE - 1;

    if (strspn(entry, digits) != n || entry[n] != '-' ||
        strspn(entry + n + 1, digits) != n ||
        strcmp(entry + 2 * n + 1, end) != 0) {
        return false;
    }
    memcpy(ret->script, entry, n);
    memcpy(ret->version, entry + n + 1, n);
    ret->script[n] = ret->version[n] = '\0';
    return true;
}

void
warm_name_address(const struct warm_folder *f, const struct warm_name *n,
                  const char *end, struct sockaddr_un *to)
{
    char entry[WARM_ENTRY_SIZE];

    _Static_assert(WARM_FOLDER_SIZE + WARM_ENTRY_SIZE <= sizeof to->sun_path,
                   "a path in the folder must fit");
    warm_name_entry(n, end, entry);
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(to->sun_path, sizeof to->sun_path, "%s/%s", f->path, entry);
}

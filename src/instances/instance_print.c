/*
 * instance_print.c - --warm-list: prints the warm instances of this user
 */
#include "instances/instance_print.h"

#include "base/buf.h"
#include "instances/instance_find.h"
#include "os/log.h"
#include "text/json.h"
#include "text/text_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { OUTPUT_MAX = 64 << 20, CELL_SIZE = 32 };

#define OPTION "--warm-list"

/* -- for people ------------------------------------------------------------ */

/* Such as 59s, 59m, 47h, 3d. */
static void
write_age(char to[CELL_SIZE], uint64_t seconds)
{
    if (seconds < 60) {
        (void)snprintf(to, CELL_SIZE, "%" PRIu64 "s", seconds);
    }
    else if (seconds < 3600) {
        (void)snprintf(to, CELL_SIZE, "%" PRIu64 "m", seconds / 60);
    }
    else if (seconds < UINT64_C(48) * 3600) {
        (void)snprintf(to, CELL_SIZE, "%" PRIu64 "h", seconds / 3600);
    }
    else {
        (void)snprintf(to, CELL_SIZE, "%" PRIu64 "d",
                       seconds / (UINT64_C(24) * 3600));
    }
}

/* The script is the last, since paths have blanks. */
static void
add_row(struct text_writer *out, const struct instance *i)
{
    char age[CELL_SIZE] = "-", workers[CELL_SIZE] = "-",
         requests[CELL_SIZE] = "-", memory[CELL_SIZE] = "-";

    if (i->answers) {
        write_age(age, i->age_s);
        (void)snprintf(workers, sizeof workers, "%" PRIu64, i->workers);
        (void)snprintf(requests, sizeof requests, "%" PRIu64, i->requests);
        (void)snprintf(memory, sizeof memory, "%" PRIu64 "M",
                       (i->memory_kib + 1023) / 1024);
    }
    text_writer_printf(out, "%7d %4s %7s %8s %6s ", (int)i->pid, age, workers,
                       requests, memory);
    text_writer_safe(out, i->script[0] != '\0' ? i->script : "-");
    text_writer_text(out, "\n");
}

static void
add_table(struct text_writer *out, const struct instance_list *l)
{
    text_writer_printf(out, "%7s %4s %7s %8s %6s %s\n", "PID", "AGE", "WORKERS",
                       "REQUESTS", "MEMORY", "SCRIPT");
    for (size_t i = 0; i < l->n; i++) {
        add_row(out, &l->v[i]);
    }
}

/* -- for programs ---------------------------------------------------------- */

static void
add_value(struct text_writer *out, const char *name, bool is_known,
          uint64_t value)
{
    if (is_known) {
        text_writer_printf(out, ",\"%s\":%" PRIu64, name, value);
    }
    else {
        text_writer_printf(out, ",\"%s\":null", name);
    }
}

static void
add_json(struct text_writer *out, const struct instance_list *l)
{
    text_writer_text(out, "[");
    for (size_t k = 0; k < l->n; k++) {
        const struct instance *i = &l->v[k];
        text_writer_printf(out, "%s{\"pid\":%d", k > 0 ? "," : "", (int)i->pid);
        add_value(out, "age", i->answers, i->age_s);
        add_value(out, "workers", i->answers, i->workers);
        add_value(out, "requests", i->answers, i->requests);
        add_value(out, "memory", i->answers, i->memory_kib * 1024);
        if (out->err == 0) {
            out->err = json_add_member(out->out, "script", i->script,
                                       strlen(i->script));
        }
        text_writer_text(out, "}");
    }
    text_writer_text(out, "]\n");
}

/* -- both ------------------------------------------------------------------ */

static int
print(const struct instance_list *l, bool json)
{
    struct buf text;
    struct text_writer out = {.out = &text};
    int status = EX_OK;

    buf_init(&text, OUTPUT_MAX);
    (json ? add_json : add_table)(&out, l);
    if (out.err < 0) {
        log_error(OPTION ": out of memory");
        status = EX_OSERR;
    }
    else if (fwrite(text.data, 1, text.len, stdout) != text.len ||
             fflush(stdout) != 0) {
        log_error(OPTION ": cannot write the list: %s", strerror(errno));
        status = EX_IOERR;
    }
    buf_fini(&text);
    return status;
}

int
instance_print(const struct config *config)
{
    struct instance_list list;
    int status = instance_find(&list, OPTION, config->client_timeout_ms);

    if (status == 0) {
        status = print(&list, config->json);
    }
    instance_list_fini(&list);
    return status;
}

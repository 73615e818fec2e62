/*
 * path.h - which part of the URL's path is SCRIPT_NAME, which PATH_INFO
 *
 * What:      the rule for a declared mount, and the automatic rule that
 *            corrects the known wrong splits of web servers.
 * Owner:     results point into the inputs, or at static text.
 * Threads:   any.                                                GIL: not used.
 * Errors:    0, -ENOENT (outside the mount), -ENOMEM.            Blocks: never.
 * Standards: RFC 3875, 4.1.5, 4.1.13; PEP 3333, environ Variables.
 */
#ifndef GATEWAY_PATH_H
#define GATEWAY_PATH_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct path_part {
    const char *s; /* NULL = not sent */
    size_t n;
};

/* What the automatic rule looks at. */
struct path_hints {
    struct path_part server_software;
    struct path_part script_filename;
    struct path_part document_root;
    struct path_part context_document_root;
    struct path_part context_prefix;
    bool script_is_file; /* CGI: the script exists */
};

/* With a mount ("" or "/app"): joined is SCRIPT_NAME and PATH_INFO one after
 * the other; both results are parts of it. */
CHECK_RESULT int path_split_at_mount(const char *mount, struct path_part joined,
                                     struct path_part *ret_script,
                                     struct path_part *ret_info);

/* True where SCRIPT_NAME, sent without PATH_INFO, is the whole path and so
 * belongs into PATH_INFO (nginx's stock parameters, Apache's ProxyPass at
 * /). */
bool path_script_is_whole(struct path_part script,
                          const struct path_hints *hints);

/* "/path?query" -> "/path" */
struct path_part path_without_query(struct path_part uri);

/* True if encoded, %-decoded, equals plain. */
bool path_equals_decoded(struct path_part encoded, struct path_part plain);

/* True where one of the words of a query string, between the "&", is this one;
 * "json=1" counts. */
bool path_query_has(const char *query, size_t n, const char *word);

#endif

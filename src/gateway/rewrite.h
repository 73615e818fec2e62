/*
 * rewrite.h - the path that was asked for, behind a web server's rewrite
 *
 * What:      with --mount: a server that sends all URLs of a folder to one
 *            script (mod_rewrite, FallbackResource, try_files, url.rewrite)
 *            names that script in SCRIPT_NAME, though nobody asked for it. This
 *            finds what the client asked for; a rewrite to another path is
 *            kept.
 * Owner:     results point into the facts, the mount, or the caller's room.
 * Threads:   any.                                                GIL: not used.
 * Errors:    none: what is not certain stays as the server sent it.
 *                                                                Blocks: never.
 *
 * Access rules.  The server has checked one path, and no client may bring
 * another one to the application than it could by the URL alone. REQUEST_URI is
 * what the client wrote: "//", "%2F", "..", "http://host/x", "#" and "%2561" in
 * it are read by each server in its own way. So:
 *
 * 1. The path that is handed on is the server's own word wherever there is one:
 *    REDIRECT_URL after one internal redirect of Apache's, SCRIPT_URL in a
 *    virtual host, else PATH_INFO. REQUEST_URI itself is handed on only where
 *    nothing in it could be read in two ways: it then is the path that the
 *    server checked.
 * 2. What was asked for by the script's own URL (/dispatch.cgi/admin), or by
 *    that of its folder where this is not the mount (/public/admin), keeps the
 *    script's name: a rule for /admin was not looked at. That a URL was
 *    rewritten is believed only where REQUEST_URI, read in every usual way,
 *    differs from what the server sent, or where the server says so itself.
 * 3. mod_rewrite in a .htaccess decodes a path twice: /%2561dmin has a
 *    PATH_INFO of "/admin". If the requested path is known, it counts and not
 *    PATH_INFO; a PATH_INFO that was made from a path with "%" in it is
 *    believed no further.
 * 4. Where only its name says that it is the script, a client that writes the
 *    name into a path divides nothing: /old/app.py/x, sent to /new/app.py/x, is
 *    not /x.
 * 5. An error document (REDIRECT_STATUS 403, 404) is no rewrite: the server has
 *    refused that path, and the application must not get it after all. nginx,
 *    Caddy and unknown servers do not tell the two apart, so they have to send
 *    the path as PATH_INFO.
 */
#ifndef GATEWAY_REWRITE_H
#define GATEWAY_REWRITE_H

#include "gateway/path.h"

#include <stdbool.h>

/* What the server sent, and what we know about the server. */
struct rewrite_facts {
    struct path_part script; /* SCRIPT_NAME */
    struct path_part info;   /* PATH_INFO */
    struct path_part uri;    /* REQUEST_URI */
    struct path_part redirect_url;
    struct path_part script_url;
    struct path_part app;     /* APP of the command line */
    bool is_honest;           /* the server tells error documents apart: Apache,
                               * lighttpd, or who sends a REDIRECT_URL */
    bool is_redirect;         /* REDIRECT_STATUS was sent */
    bool is_redirected_twice; /* REDIRECT_REDIRECT_STATUS was sent */
    bool is_refused;          /* one of those is not 200: an error document */
    bool script_is_file;      /* SCRIPT_NAME names a script on disk */
};

enum rewrite {
    REWRITE_NONE,    /* none, or none that is certain */
    REWRITE_UNDONE,  /* *ret_...: the requested path */
    REWRITE_KEPT,    /* *ret_...: the path that the server chose */
    REWRITE_SHOWN,   /* without a mount: the script's name is in every link */
    REWRITE_NO_PATH, /* only the script is named, the path is not certain */
    REWRITE_REFUSED, /* an error document, and so without a path */
};

/* mount is NULL, "" or "/app". room has space for facts->uri.n bytes. The
 * results are set for REWRITE_UNDONE and REWRITE_KEPT. */
enum rewrite rewrite_find(const char *mount, const struct rewrite_facts *facts,
                          char *room, struct path_part *ret_script,
                          struct path_part *ret_info);

#endif

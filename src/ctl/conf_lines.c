/* SPDX-License-Identifier: Apache-2.0 */
/* Conf lines. See conf_lines.h. */
#include "ctl/conf_lines.h"

#include "base/aq_words.h"

#include <apr_cstr.h>
#include <apr_env.h>
#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <glob.h>
#include <string.h>

#define FILE_MAX_BYTES ((apr_off_t)16 * 1024 * 1024)
#define INCLUDE_DEPTH_MAX 20 /* httpd takes 128 */

typedef struct {
    apr_pool_t *p;
    aq_conf_line_fn *each;
    void *data;
    const char *root;
    apr_hash_t *defines; /* const char * by name */
    int depth;
} conf_reader_t;

static const char *file_read(conf_reader_t *reader, const char *path);

/* ---- a file's text ---------------------------------------------------------------------------------------------- */

static apr_status_t text_load(apr_pool_t *p, const char *path, char **text)
{
    apr_file_t *file;
    apr_size_t size = 0;

    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_finfo_t info;
    rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, file);
    if (rv == APR_SUCCESS && (info.filetype == APR_DIR || info.size > FILE_MAX_BYTES)) {
        rv = info.filetype == APR_DIR ? APR_FROM_OS_ERROR(EISDIR) : APR_FROM_OS_ERROR(EFBIG);
    }
    if (rv == APR_SUCCESS) {
        *text = apr_palloc(p, (apr_size_t)info.size + 1);
        rv = info.size > 0 ? apr_file_read_full(file, *text, (apr_size_t)info.size, &size) : APR_SUCCESS;
        (*text)[size] = '\0';
        rv = rv == APR_SUCCESS && strlen(*text) != size ? APR_FROM_OS_ERROR(EILSEQ) : rv;
    }
    apr_status_t closed = apr_file_close(file);
    return rv != APR_SUCCESS ? rv : closed;
}

/* The next line of the text, joined with those that continue it and trimmed; NULL at the end. The text is cut up. */
static char *line_next(char **text, int *number, int *begins_at)
{
    char *line = *text, *out = line, *in = line;

    if (!*in) {
        return NULL;
    }
    *begins_at = *number;
    for (;;) {
        size_t size = strcspn(in, "\n");
        char *next = in + size + (in[size] == '\n');
        size -= size > 0 && in[size - 1] == '\r';
        int is_continued = size > 0 && in[size - 1] == '\\' && *next;
        size -= (size_t)is_continued;
        memmove(out, in, size);
        out += size;
        in = next;
        ++*number;
        if (!is_continued) {
            break;
        }
    }
    *text = in;
    while (out > line && apr_isspace(out[-1])) {
        out--;
    }
    /* The newline that was there leaves room for the zero; a last line without one ends at the text's own. */
    *out = '\0';
    return line + strspn(line, " \t\r");
}

/* ---- variables -------------------------------------------------------------------------------------------------- */

static const char *variable_find(conf_reader_t *reader, const char *name)
{
    char *value = apr_hash_get(reader->defines, name, APR_HASH_KEY_STRING);

    if (!value && apr_env_get(&value, name, reader->p) != APR_SUCCESS) {
        value = NULL;
    }
    return value;
}

static const char *variables_replace(conf_reader_t *reader, const char *text, const char **unknown)
{
    const char *result = "", *open, *close;

    *unknown = NULL;
    while ((open = strstr(text, "${")) != NULL && (close = strchr(open, '}')) != NULL) {
        const char *name = apr_pstrmemdup(reader->p, open + 2, (size_t)(close - open - 2));
        const char *value = variable_find(reader, name);
        if (!value) {
            *unknown = *unknown ? *unknown : name;
            value = "";
        }
        result = apr_pstrcat(reader->p, result, apr_pstrmemdup(reader->p, text, (size_t)(open - text)), value, NULL);
        text = close + 1;
    }
    return apr_pstrcat(reader->p, result, text, NULL);
}

/* ---- includes --------------------------------------------------------------------------------------------------- */

const char *aq_conf_path(apr_pool_t *p, const aq_conf_line_t *line, const char *path)
{
    return path[0] == '/' ? path : apr_pstrcat(p, line->root, "/", path, NULL);
}

/* A folder means all files in it. glob sorts, as httpd does. */
static const char *pattern_read(conf_reader_t *reader, const aq_conf_line_t *line, const char *path, int is_optional)
{
    apr_finfo_t info;
    glob_t found;
    const char *error = NULL;

    if (apr_stat(&info, path, APR_FINFO_TYPE, reader->p) == APR_SUCCESS && info.filetype == APR_DIR) {
        path = apr_pstrcat(reader->p, path, "/*", NULL);
        is_optional = 1;
    }
    int rc = glob(path, GLOB_ERR, NULL, &found);
    if (rc == GLOB_NOMATCH) {
        return is_optional ? NULL : apr_psprintf(reader->p, "%s: there is no file %s", line->place, path);
    }
    if (rc != 0) {
        return apr_psprintf(reader->p, "%s: %s cannot be looked for", line->place, path);
    }
    for (size_t i = 0; !error && i < found.gl_pathc; i++) {
        error = file_read(reader, apr_pstrdup(reader->p, found.gl_pathv[i]));
    }
    globfree(&found);
    return error;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static const char *placed(const conf_reader_t *reader, const aq_conf_line_t *line, const char *error)
{
    return apr_pstrcat(reader->p, line->place, ": ", line->name, ": ", error, NULL);
}

/* The directives of httpd that say how the file is to be read. `*is_ours`: it was one. */
static const char *own_line_read(conf_reader_t *reader, const aq_conf_line_t *line, int *is_ours)
{
    int is_optional = apr_cstr_casecmp(line->name, "IncludeOptional") == 0;
    int is_include = is_optional || apr_cstr_casecmp(line->name, "Include") == 0;
    int is_define = apr_cstr_casecmp(line->name, "Define") == 0;
    apr_array_header_t *words;

    *is_ours = is_include || is_define || apr_cstr_casecmp(line->name, "ServerRoot") == 0;
    if (!*is_ours) {
        return NULL;
    }
    const char *error = aq_words_split(reader->p, line->arguments, &words);
    const char *first = words->nelts > 0 ? APR_ARRAY_IDX(words, 0, const char *) : NULL;
    if (line->unknown_variable) {
        error =
            apr_psprintf(reader->p, "${%s} is defined neither above nor in the environment", line->unknown_variable);
    }
    if (error || !first) {
        return is_optional || !is_include ? NULL : placed(reader, line, error ? error : "it has no argument");
    }
    if (is_include) {
        return pattern_read(reader, line, aq_conf_path(reader->p, line, first), is_optional);
    }
    if (is_define) {
        const char *value = words->nelts > 1 ? APR_ARRAY_IDX(words, 1, const char *) : "";
        apr_hash_set(reader->defines, first, APR_HASH_KEY_STRING, value);
    } else {
        reader->root = first;
    }
    return NULL;
}

/* `<APIQuotaPlan basic>` has its name up to the white space; `</APIQuotaPlan>` whole. */
static const char *line_read(conf_reader_t *reader, const char *path, int number, const char *text)
{
    aq_conf_line_t line = {.root = reader->root};
    int is_ours;

    if (!*text || *text == '#') {
        return NULL;
    }
    line.place = apr_psprintf(reader->p, "%s:%d", path, number);
    text = strstr(text, "${") ? variables_replace(reader, text, &line.unknown_variable) : text;
    size_t size = strcspn(text, " \t");
    line.name = apr_pstrmemdup(reader->p, text, size);
    line.arguments = text + size + strspn(text + size, " \t");
    const char *error = own_line_read(reader, &line, &is_ours);
    if (is_ours) {
        return error;
    }
    error = reader->each(reader->data, &line);
    return error ? apr_pstrcat(reader->p, line.place, ": ", error, NULL) : NULL;
}

static const char *file_read(conf_reader_t *reader, const char *path)
{
    char *text, *line, reason[128];
    const char *error = NULL;
    int number = 1, begins_at;

    if (reader->depth == INCLUDE_DEPTH_MAX) {
        return apr_psprintf(reader->p, "%s: files include one another more than %d deep", path, INCLUDE_DEPTH_MAX);
    }
    apr_status_t rv = text_load(reader->p, path, &text);
    if (rv != APR_SUCCESS) {
        return apr_psprintf(reader->p, "%s: %s", path, apr_strerror(rv, reason, sizeof(reason)));
    }
    reader->depth++;
    while (!error && (line = line_next(&text, &number, &begins_at)) != NULL) {
        error = line_read(reader, path, begins_at, line);
    }
    reader->depth--;
    return error;
}

apr_status_t aq_conf_lines_read(apr_pool_t *p, const char *path, aq_conf_line_fn *each, void *data, const char **error)
{
    const char *slash = strrchr(path, '/');
    conf_reader_t reader = {.p = p, .each = each, .data = data, .defines = apr_hash_make(p)};

    reader.root = slash ? apr_pstrmemdup(p, path, (size_t)(slash - path)) : ".";
    *error = file_read(&reader, path);
    return *error ? APR_EGENERAL : APR_SUCCESS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite queue: opening, bringing the layout up to date, and closing. All of it under the write lock, since opening may
 * recover a WAL and closing checkpoints one.
 */
#include "store/sqlite_queue.h"

#include "base/aq_file.h"
#include "base/aq_log.h"
#include "store/sqlite_private.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_SUFFIX ".lock"

/* Durable at each commit; no mapping, whose size two processes could see differently; checkpoints by us alone (the link's WAL hook). */
static const char *const writer_setup = "PRAGMA synchronous = FULL;"
                                        "PRAGMA mmap_size = 0;"
                                        "PRAGMA journal_size_limit = 8388608;";
static const char *const reader_setup = "PRAGMA mmap_size = 0;"
                                        "PRAGMA query_only = 1;";

static apr_status_t refuse(apr_pool_t *p, const char *path, const char *what, apr_status_t rv, const char **error)
{
    char reason[128];

    *error = rv == APR_SUCCESS
                 ? apr_psprintf(p, "the queue %s %s", path, what)
                 : apr_psprintf(p, "the queue %s %s: %s", path, what, apr_strerror(rv, reason, sizeof reason));
    return rv == APR_SUCCESS ? APR_EGENERAL : rv;
}

static apr_status_t refuse_sqlite(apr_pool_t *p, const char *path, const aq_sqlite_link_t *link, int rc,
                                  const char **error)
{
    const char *reason =
        link->db != NULL && sqlite3_errcode(link->db) != SQLITE_OK ? sqlite3_errmsg(link->db) : sqlite3_errstr(rc);
    *error = apr_psprintf(p, "the queue %s cannot be used: %s", path, reason);
    return aq_sqlite_status(rc);
}

/* The path with its folder resolved, so that the only link it could hold is its last part, which SQLite refuses. */
static apr_status_t resolve(apr_pool_t *p, const char *path, const char **resolved)
{
    const char *slash = strrchr(path, '/');
    const char *folder = slash == NULL   ? "."
                         : slash == path ? "/"
                                         : apr_pstrmemdup(p, path, (apr_size_t)(slash - path));
    char *real = realpath(folder, NULL);

    if (real == NULL) {
        return errno;
    }
    *resolved = apr_pstrcat(p, real, "/", slash != NULL ? slash + 1 : path, NULL);
    free(real);
    return APR_SUCCESS;
}

/*
 * Makes the file where there is none, so that it has our mode and its name is on disk. An existing one is only looked at:
 * to open and close it could free locks that SQLite holds elsewhere in this process.
 */
static apr_status_t file_prepare(apr_pool_t *p, const char *path, const char **error)
{
    struct stat info;
    int fd;

    if (lstat(path, &info) != 0 && errno == ENOENT) {
        apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &fd);
        if (rv == APR_SUCCESS) {
            (void)close(fd);
            char *folder = apr_pstrdup(p, path);
            *strrchr(folder, '/') = '\0';
            rv = aq_file_folder_sync(folder[0] != '\0' ? folder : "/");
        }
        if (rv != APR_SUCCESS && rv != EEXIST) {
            return refuse(p, path, "cannot be made", rv, error);
        }
    }
    if (lstat(path, &info) != 0) {
        return refuse(p, path, "cannot be read", errno, error);
    }
    if (S_ISLNK(info.st_mode)) {
        return refuse(p, path, "is a symbolic link, which is refused", APR_SUCCESS, error);
    }
    if (!S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
        return refuse(p, path, "is no plain file of this user", APR_SUCCESS, error);
    }
    return APR_SUCCESS;
}

static int read_number(sqlite3 *db, const char *sql, int *number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    *number = 0;
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        *number = sqlite3_column_int(statement, 0);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(statement); /* repeats the error of the step */
    return rc;
}

/* Where shared memory cannot be had, SQLite answers with another mode instead of an error. */
static int set_wal(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(statement, 0);
        rc = mode != NULL && strcmp(mode, "wal") == 0 ? SQLITE_OK : SQLITE_PROTOCOL;
    }
    (void)sqlite3_finalize(statement); /* repeats the error of the step */
    return rc;
}

static int migrate(sqlite3 *db, int layout)
{
    int rc = SQLITE_OK;

    for (; rc == SQLITE_OK && layout < AQ_SQL_LAYOUT; layout++) {
        rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        for (const char *const *text = aq_sql_migration(layout); rc == SQLITE_OK && *text != NULL; text++) {
            rc = sqlite3_exec(db, *text, NULL, NULL, NULL);
        }
        if (rc == SQLITE_OK) {
            rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        }
    }
    return rc;
}

/* Makes a new database ours, accepts one of ours, brings an old one up to date. */
static apr_status_t layout_prepare(apr_pool_t *p, const char *path, aq_sqlite_link_t *writer, const char **error)
{
    int application_id, layout, tables;
    int rc;

    if ((rc = read_number(writer->db, "PRAGMA application_id", &application_id)) != SQLITE_OK ||
        (rc = read_number(writer->db, "PRAGMA user_version", &layout)) != SQLITE_OK ||
        (rc = read_number(writer->db, "SELECT count(*) FROM sqlite_schema", &tables)) != SQLITE_OK) {
        return refuse_sqlite(p, path, writer, rc, error);
    }
    if (tables != 0 && application_id != AQ_SQL_APPLICATION_ID) {
        return refuse(p, path, "is another program's database", APR_SUCCESS, error);
    }
    if (layout > AQ_SQL_LAYOUT) {
        return refuse(p, path, apr_psprintf(p, "has layout %d, which is newer than this program's", layout),
                      APR_SUCCESS, error);
    }
    if ((rc = set_wal(writer->db)) != SQLITE_OK ||
        (rc = sqlite3_exec(writer->db, writer_setup, NULL, NULL, NULL)) != SQLITE_OK ||
        (rc = migrate(writer->db, layout)) != SQLITE_OK) {
        return refuse_sqlite(p, path, writer, rc, error);
    }
    return APR_SUCCESS;
}

static apr_status_t links_open(apr_pool_t *p, const char *path, aq_sqlite_queue_t *queue, const char **error)
{
    int rc = aq_sqlite_link_open(&queue->writer, path, queue->lock.wait_ms);

    if (rc != SQLITE_OK) {
        return refuse_sqlite(p, path, &queue->writer, rc, error);
    }
    apr_status_t rv = layout_prepare(p, path, &queue->writer, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rc = aq_sqlite_link_open(&queue->reader, path, queue->lock.wait_ms)) != SQLITE_OK ||
        (rc = sqlite3_exec(queue->reader.db, reader_setup, NULL, NULL, NULL)) != SQLITE_OK) {
        return refuse_sqlite(p, path, &queue->reader, rc, error);
    }
    return APR_SUCCESS;
}

apr_status_t aq_sqlite_queue_end(void *data)
{
    aq_sqlite_queue_t *queue = data;
    int left_ms, rc = SQLITE_OK;
    apr_status_t rv = APR_EBUSY;

    if (queue->owner != getpid()) {
        return APR_SUCCESS;
    }
    if (queue->writer.db != NULL &&
        (rv = aq_sqlite_lock_take(&queue->lock, queue->lock.wait_ms, &left_ms)) == APR_SUCCESS) {
        /* Readers of other processes may be in the way: then the WAL stays, and the next to open it goes on. */
        rc = sqlite3_wal_checkpoint_v2(queue->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
        AQ_LOG(AQ_LOG_WARNING, 405, aq_sqlite_status(rc), "queue: checkpoint at the end failed: %s",
               sqlite3_errstr(rc));
    }
    aq_sqlite_link_close(&queue->reader);
    aq_sqlite_link_close(&queue->writer);
    if (rv == APR_SUCCESS) {
        aq_sqlite_lock_give(&queue->lock);
    }
    aq_sqlite_lock_close(&queue->lock);
    aq_sqlite_group_destroy(&queue->group);
    (void)pthread_mutex_destroy(&queue->reader_mutex);
    return APR_SUCCESS;
}

apr_status_t aq_sqlite_queue_open(apr_pool_t *p, const char *path, int wait_ms, aq_queue_t **queue, const char **error)
{
    aq_sqlite_queue_t *opened = apr_pcalloc(p, sizeof(*opened));
    int left_ms;
    apr_status_t rv;

    *queue = NULL;
    *error = NULL;
    opened->queue.ops = &aq_sqlite_queue_ops;
    opened->pool = p;
    opened->owner = getpid();
    if ((rv = resolve(p, path, &path)) != APR_SUCCESS) {
        return refuse(p, path, "has no folder", rv, error);
    }
    rv = aq_sqlite_lock_open(&opened->lock, apr_pstrcat(p, path, LOCK_SUFFIX, NULL), wait_ms);
    if (rv != APR_SUCCESS) {
        return refuse(p, apr_pstrcat(p, path, LOCK_SUFFIX, NULL), "cannot be used as lock", rv, error);
    }
    if ((rv = pthread_mutex_init(&opened->reader_mutex, NULL)) != APR_SUCCESS ||
        (rv = aq_sqlite_group_init(&opened->group)) != APR_SUCCESS) {
        aq_sqlite_lock_close(&opened->lock);
        return refuse(p, path, "cannot be used", rv, error);
    }
    apr_pool_cleanup_register(p, opened, aq_sqlite_queue_end, apr_pool_cleanup_null);
    if ((rv = aq_sqlite_lock_take(&opened->lock, opened->lock.wait_ms, &left_ms)) != APR_SUCCESS) {
        rv = refuse(p, path, "is locked by another process", rv, error);
        goto cleanup;
    }
    if ((rv = file_prepare(p, path, error)) == APR_SUCCESS) {
        rv = links_open(p, path, opened, error);
    }
    aq_sqlite_lock_give(&opened->lock);
cleanup:
    if (rv != APR_SUCCESS) {
        (void)apr_pool_cleanup_run(p, opened, aq_sqlite_queue_end);
        return rv;
    }
    *queue = &opened->queue;
    return APR_SUCCESS;
}

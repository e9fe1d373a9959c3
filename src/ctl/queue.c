/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: opening the server's queue.
 *
 * The queue belongs to httpd's user and refuses anybody else, root too. So root becomes the owner of the queue's file
 * before it is opened: nothing that is made beside it belongs to another.
 */
#include "ctl/ctl.h"

#include "store/queue_open.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_WAIT_MS 5000

static aq_ctl_exit_t owner_become(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", path, strerror(errno));
    }
    if (geteuid() == 0 && (setegid(info.st_gid) != 0 || seteuid(info.st_uid) != 0)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "cannot become the owner of %s: %s", path, strerror(errno));
    }
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_queue_open(aq_ctl_t *ctl, const aq_batch_config_t **config, aq_queue_t **queue)
{
    aq_batch_config_t *parsed;
    const char *error;
    aq_ctl_exit_t code = aq_ctl_runtime_load(ctl, 0);

    *config = NULL;
    *queue = NULL;
    if (code != AQ_CTL_DONE) {
        return code;
    }
    const json_t *worker = json_object_get(ctl->runtime, "worker");
    if (!worker) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "no location of the server takes batches");
    }
    if (aq_batch_config_parse(ctl->p, worker, &parsed, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    if ((code = owner_become(parsed->queue_file ? parsed->queue_file : parsed->spool_folder)) != AQ_CTL_DONE) {
        return code;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (aq_queue_open(ctl->p, parsed, QUEUE_WAIT_MS, queue, &error) != APR_SUCCESS || !*queue) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error ? error : aq_batch_config_queue(ctl->p, parsed));
    }
    *config = parsed;
    return AQ_CTL_DONE;
}

aq_queue_now_t aq_ctl_queue_now(const aq_ctl_t *ctl)
{
    return (aq_queue_now_t){.wall_ms = ctl->now_ms, .boot_ms = aq_clock_boot_ms()};
}

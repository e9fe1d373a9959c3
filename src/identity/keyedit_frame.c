/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of an edit, wherever keys are. See keyedit_private.h.
 */
#include "identity/keyedit_private.h"

#include <apr_strings.h>
#include <stdarg.h>

apr_status_t aq_keyedit_fail(aq_keyedit_t *edit, apr_status_t rv, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    *edit->error = apr_pvsprintf(edit->p, format, arguments);
    va_end(arguments);
    return rv;
}

apr_status_t aq_keyedit_fail_system(aq_keyedit_t *edit, apr_status_t rv, const char *path)
{
    char reason[128];

    return aq_keyedit_fail(edit, rv, "%s: %s", path, apr_strerror(rv, reason, sizeof(reason)));
}

json_t *aq_keyedit_member(json_t *object, const char *name, json_type type)
{
    json_t *member = json_object_get(object, name);

    if (!member) {
        member = type == JSON_ARRAY ? json_array() : json_object();
        return json_object_set_new(object, name, member) == 0 ? member : NULL;
    }
    return json_typeof(member) == type ? member : NULL;
}

apr_status_t aq_keyedit_begin(aq_keyedit_t *edit, apr_pool_t *p, const aq_keyedit_place_t *place, int may_create,
                              const char **error)
{
    *error = NULL;
    *edit = (aq_keyedit_t){.p = p, .place = place, .error = error};
    apr_status_t rv = place->begin(place, p, may_create, &edit->file, &edit->held, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    edit->tenants = aq_keyedit_member(edit->file, "tenants", JSON_OBJECT);
    edit->keys = aq_keyedit_member(edit->file, "keys", JSON_ARRAY);
    if (!edit->tenants || !edit->keys) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "%s: is no object with an object \"tenants\" and an array \"keys\"",
                               place->name);
    }
    return APR_SUCCESS;
}

apr_status_t aq_keyedit_end(aq_keyedit_t *edit, apr_status_t rv)
{
    const apr_status_t ended =
        edit->place->end(edit->place, edit->p, edit->file, edit->held, rv == APR_SUCCESS, edit->error);

    json_decref(edit->file);
    return rv == APR_SUCCESS ? ended : rv;
}

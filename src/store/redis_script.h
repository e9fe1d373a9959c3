/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script that counts in Redis: one call for all counters of a request, whatever their algorithms.
 *
 * Layout in Redis. One hash a home, "aq:{t:…}" (see counter_store.h), whose fields are counters by their 32 hex digits. A
 * value begins with the second in which it is over (-1: never, or not by time), so that anyone may sweep it:
 *
 *     fixed         "dead start count"        start: of the window, in seconds. total: 0
 *     sliding       "dead number count …"     the sub-windows that hold something, by their number since 1970
 *     token-bucket  "dead seconds units T U"  TAT in seconds and units, the T it was made with, and units a second
 *     concurrent    "-1 owner until id,id; …" members by process, until when it lives, by Redis's own clock
 *
 * The arithmetic is that of window.h and bucket.h, on numbers that Lua's doubles hold exactly: starts are not taken modulo
 * anything, and a TAT is two numbers. A window, its start and its count are what the C side makes its words of.
 *
 *     KEYS   the homes
 *     ARGV   verb ("take", "look", "back", "renew", "reset"), now in ms ("": Redis's TIME), cost, slack in ms, life of a member in ms; then
 *            six for each counter: index of its home, field, kind, capacity (-1: unlimited; "back": what was taken),
 *            and two that its kind explains:
 *
 *              f  fixed     period in s                  (back: the start)
 *              m  month     five starts in s around now  (back: the start)
 *              t  total
 *              s  sliding   period in s                  (back: the number)
 *              b  bucket    T, units a second             (back: T, and seconds:units:U of TAT just after the charge)
 *              c  members   owner, id                (renew: owner, and "newest:id,id,…", what it still holds)
 *
 *            f, m, t, s that are taken as a slice have "need:want:machine" as their last word. need is what is charged or
 *            denied with the others (0: it never denies); what is charged beyond it, so much of want as
 *            redis_leased.h tells, the machine may spend later. The field "machines" of a home,
 *            "dead machine ms machine ms …", says which machines took slices there, and when.
 *
 *     reply  now in ms, a bit for each counter that denies (-1: now lies outside of a month's starts), then for each
 *            counter what it holds now: f, m, t two numbers (start, count); s fourteen (number, count, by number modulo
 *            seven); b two (seconds, units); c one. Behind those of a slice two more: how much was charged, and for
 *            how many ms it may be spent (0: no window ends)
 *
 * All or nothing: it looks at all, then writes. A hash expires when its longest counter is over, and some slack, so that a
 * clock that steps back finds what it left; one that holds a total never does.
 */
#ifndef AQ_REDIS_SCRIPT_H
#define AQ_REDIS_SCRIPT_H

#include <apr_pools.h>

/* Zero-terminated, in `p`. */
const char *aq_redis_script_count(apr_pool_t *p);

/* Walks a page of counters: ARGV cursor, pattern, now in s; reply: cursor, live, dead, bytes. A constant. */
const char *aq_redis_script_census(void);

#endif

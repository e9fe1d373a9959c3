/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distance is that of optimal string alignment: Levenshtein's, and two neighbours that changed places are one
 * mistake. Three rows of its table are enough.
 */
#include "ctl/suggest.h"

#include <string.h>

#define LENGTH_MAX 40

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int distance(const char *from, const char *to)
{
    const int from_length = (int)strlen(from), to_length = (int)strlen(to);
    int rows[3][LENGTH_MAX + 1];

    for (int j = 0; j <= to_length; j++) {
        rows[0][j] = j;
    }
    for (int i = 1; i <= from_length; i++) {
        const int *before = rows[(i + 1) % 3], *above = rows[(i - 1) % 3];
        int *row = rows[i % 3];
        row[0] = i;
        for (int j = 1; j <= to_length; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (from[i - 1] != to[j - 1]));
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
    }
    return rows[from_length % 3][to_length];
}

const char *aq_suggest(const char *word, const apr_array_header_t *names)
{
    const char *nearest = NULL;
    int nearest_distance = LENGTH_MAX;

    for (int i = 0; strlen(word) <= LENGTH_MAX && i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const int length = (int)strlen(name);
        if (length > LENGTH_MAX) {
            continue;
        }
        const int away = distance(word, name);
        if (away < nearest_distance && away * 3 <= length) {
            nearest = name;
            nearest_distance = away;
        }
    }
    return nearest;
}

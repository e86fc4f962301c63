/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "tally.h"

#include <stdlib.h>
#include <string.h>

struct row {
    char *word;
    size_t count;
};

struct tally {
    struct row *rows;
    size_t len, room;
};

struct tally *tally_new(void)
{
    return calloc(1, sizeof(struct tally));
}

void tally_free(struct tally *tally)
{
    if (tally == NULL)
        return;
    for (size_t i = 0; i < tally->len; i++)
        free(tally->rows[i].word);
    free(tally->rows);
    free(tally);
}

static int grow(struct tally *tally)
{
    size_t room = tally->room ? tally->room * 2 : 16;
    struct row *rows = realloc(tally->rows, room * sizeof *rows);
    if (rows == NULL)
        return -1;
    tally->rows = rows;
    tally->room = room;
    return 0;
}

int tally_add(struct tally *tally, const char *word)
{
    for (size_t i = 0; i < tally->len; i++) {
        if (strcmp(tally->rows[i].word, word) == 0) {
            tally->rows[i].count++;
            return 0;
        }
    }
    if (tally->len == tally->room && grow(tally) != 0)
        return -1;
    char *copy = strdup(word);
    if (copy == NULL)
        return -1;
    tally->rows[tally->len++] = (struct row){copy, 1};
    return 0;
}

size_t tally_len(const struct tally *tally)
{
    return tally->len;
}

struct tally_row tally_row(const struct tally *tally, size_t index)
{
    return (struct tally_row){tally->rows[index].word, tally->rows[index].count};
}

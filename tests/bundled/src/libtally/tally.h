/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

/* Counts how often each word was added. Words are kept in the order of their first addition. */
struct tally;

struct tally_row {
    const char *word;
    size_t count;
};

struct tally *tally_new(void);
void tally_free(struct tally *tally);

/* Adds one occurrence. Returns 0, or -1 when memory is short; then nothing was added. */
int tally_add(struct tally *tally, const char *word);

/* Number of different words. */
size_t tally_len(const struct tally *tally);

/* Row `index` < tally_len(); valid until the next tally_add(). */
struct tally_row tally_row(const struct tally *tally, size_t index);

#endif

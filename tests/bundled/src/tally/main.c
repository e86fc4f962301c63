/* SPDX-License-Identifier: Apache-2.0 */
/* tally: prints how often each word of standard input occurs, one "COUNT<tab>WORD" a line. */
#include <stdio.h>
#include <tally.h>

int main(void)
{
    struct tally *tally = tally_new();
    char word[256];

    if (tally == NULL)
        return 1;
    while (scanf("%255s", word) == 1) {
        if (tally_add(tally, word) != 0) {
            fputs("tally: out of memory\n", stderr);
            tally_free(tally);
            return 1;
        }
    }
    for (size_t i = 0; i < tally_len(tally); i++) {
        struct tally_row row = tally_row(tally, i);
        printf("%zu\t%s\n", row.count, row.word);
    }
    tally_free(tally);
    return 0;
}

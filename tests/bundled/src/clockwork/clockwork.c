/* SPDX-License-Identifier: Apache-2.0 */
/* clockwork: prints when it was compiled. That time differs from build to build: the package can
 * never be reproduced, which is what it is for. */
#include <stdio.h>

int main(void)
{
    puts("compiled at " BUILT_AT);
    return 0;
}

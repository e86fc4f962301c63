/* Loaded before dnf5 (LD_PRELOAD): tells librepo where .zck files of earlier downloads are.
 *
 * librepo uses zchunk only when it is told that. dnf5 tells it when it was compiled beside a librepo with zchunk; Debian's
 * was not, so this says the same in its stead, for the directory in HALLMARK_ZCHUNK_CACHE. See make-zchunk-dnf.sh. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <librepo/handle.h>
#include <stdlib.h>

LrHandle *lr_handle_init(void)
{
    LrHandle *(*init)(void) = (LrHandle *(*)(void))dlsym(RTLD_NEXT, "lr_handle_init");
    const char *directory = getenv("HALLMARK_ZCHUNK_CACHE");
    LrHandle *handle = init ? init() : NULL;

    if (handle && directory && !lr_handle_setopt(handle, NULL, LRO_CACHEDIR, directory))
        abort();
    return handle;
}

/* metadata_fuzz.c - any bytes as a body and as a message of a batch: scan and batch cursor agree
 * with protobuf-c. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_agree(const char *what, const char *differ)
{
    if (!differ)
        return;
    fprintf(stderr, "%s: %s\n", what, differ);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    const uint8_t *p = size ? data : nothing;
    must_agree("metadata", agree_on_metadata(p, size, NULL));
    must_agree("single message", agree_on_single(p, size, NULL));
    return 0;
}

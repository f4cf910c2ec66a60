/* hold_client.c - see hold_client.h. A table: a name and the first version that obeys. */
#include "throttle/hold_client.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name; /* up to the number; '-' stands for a blank as well */
    long major, minor;
} clients[] = {
    {"Pulsar-CPP-v", 3, 1},
    {"Pulsar-Java-v", 2, 8},
    {"Pulsar-Go-v", 0, 13},
};

/* Past the name, or NULL. */
static const char *after(const char *version, const char *name)
{
    for (; *name; name++, version++)
        if (*version != *name && !(*name == '-' && *version == ' '))
            return NULL;
    return version;
}

static bool is_at_least(const char *number, long major, long minor)
{
    char *end;
    if (!isdigit((unsigned char)*number))
        return false;
    long theirs = strtol(number, &end, 10);
    if (*end != '.' || !isdigit((unsigned char)end[1]))
        return false;
    long minors = strtol(end + 1, NULL, 10);
    return theirs > major || (theirs == major && minors >= minor);
}

bool hold_client_obeys(const char *version)
{
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        const char *number = after(version, clients[i].name);
        if (number)
            return is_at_least(number, clients[i].major, clients[i].minor);
    }
    return false;
}

/* hold_client.h - which clients obey a hold (hold.h), by the version of CONNECT. Those that were
 * tried, and what is known from their source; whoever is not here is never held. */
#ifndef THROTTLE_HOLD_CLIENT_H
#define THROTTLE_HOLD_CLIENT_H

#include <stdbool.h>

/* "Pulsar-CPP-v4.2.0" (Python and Node say so, too) from 3.1 on, "Pulsar-Java-v4.0.7" from 2.8 on,
 * "Pulsar Go v0.13.1" from 0.13 on; blanks may have become dashes. Before these, a client takes
 * ready = false for success and sends, or its receipts race with what it sends again. */
bool hold_client_obeys(const char *version);

#endif

/* place_row.h - a topic's row: topic/<t>/<ns>/<local>. Private to place.c and place_row.c. Control
 * worker. */
#ifndef BROKER_PLACE_ROW_H
#define BROKER_PLACE_ROW_H

#include "broker/place.h"

/* {"ledger":n,"created":ms,"properties":{},"publishRate":{}} */
void place_row_put(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx);
void place_row_delete(struct place *p, void (*done)(void *ctx, enum tg_err e), void *ctx);

#endif

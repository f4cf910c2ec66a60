/* message_counts.h - how many messages lie in a run of entries: what a backlog in messages is
 * computed from. Kept as knots of the function "messages before entry e"; between two knots every
 * entry has as many messages as the next. A topic whose batches are all of one size needs two
 * knots, however long it is. Over MESSAGE_COUNTS_KNOTS_MAX the older half is thinned to every
 * second knot: then sums that end between knots are interpolated, sums over everything stay exact.
 * Entries before the first knot are from before the start of the process: they count as one message
 * each. Pure; one owner: the topic. */
#ifndef BROKER_MESSAGE_COUNTS_H
#define BROKER_MESSAGE_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

enum { MESSAGE_COUNTS_KNOTS_MAX = 4096 }; /* 64 KiB per topic at most */

struct message_counts;

struct message_counts *message_counts_new(uint64_t first_entry);
void message_counts_free(struct message_counts *c); /* NULL: no-op */
/* Entries come in order, without gaps. */
void message_counts_add(struct message_counts *c, uint64_t entry, uint32_t messages);
/* Messages in the entries first..end-1. */
uint64_t message_counts_between(const struct message_counts *c, uint64_t first, uint64_t end);
/* Nobody will ask for what lies before <first>: knots that only tell that may go. */
void message_counts_forget_below(struct message_counts *c, uint64_t first);
/* Full: the next add will thin. */
bool message_counts_is_full(const struct message_counts *c);

#endif

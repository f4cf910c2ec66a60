/* settings.h - every setting of the server: broker.conf's keys where Pulsar has one, ours where
 * not. One table (settings.c) gives name, type, range, default, whether it can be changed while
 * running, and a line of documentation: --help, docs/configuration.md and the checks come from it.
 */
#ifndef BROKER_SETTINGS_H
#define BROKER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { BROKER_WORKERS_MAX = 64 }; /* more than the cores that they would find */

struct settings {
    /* command line */
    char *data_dir;
    char *bind_address;
    int64_t broker_port, web_port;
    int64_t workers;
    int64_t memory_bytes;
    bool durability_sync;
    /* broker.conf */
    char *cluster_name;                   /* standalone */
    char *advertised_address;             /* NULL: the bind address, or localhost */
    int64_t max_message_bytes;            /* maxMessageSize */
    int64_t keep_alive_s;                 /* keepAliveIntervalSeconds */
    int64_t max_connections;              /* brokerMaxConnections; 0: the file limit */
    bool allow_auto_topic_creation;       /* allowAutoTopicCreation */
    bool auto_topic_partitioned;          /* allowAutoTopicCreationType=partitioned */
    int64_t default_partitions;           /* defaultNumPartitions */
    bool allow_auto_subscription;         /* allowAutoSubscriptionCreation */
    int64_t max_unacked_per_consumer;     /* maxUnackedMessagesPerConsumer */
    int64_t max_unacked_per_subscription; /* maxUnackedMessagesPerSubscription */
    int64_t max_pending_per_connection;   /* maxPendingPublishRequestsPerConnection; 0: no bound */
    int64_t publish_buffer_mb;            /* maxMessagePublishBufferSizeInMB; 0, -1: by memory */
    bool expose_topic_metrics;            /* exposeTopicLevelMetricsInPrometheus */
    /* dynamic: what is in force is in registry_settings */
    int64_t max_topic_rate_msgs;     /* maxPublishRatePerTopicInMessages; none at 0 and below */
    int64_t max_topic_rate_bytes;    /* maxPublishRatePerTopicInBytes */
    int64_t max_producer_rate_msgs;  /* maxPublishRatePerProducerInMessages; none at 0 and below */
    int64_t max_producer_rate_bytes; /* maxPublishRatePerProducerInBytes */
    int64_t broker_quota_msgs;       /* brokerPublisherThrottlingMaxMessageRate */
    int64_t broker_quota_bytes;      /* brokerPublisherThrottlingMaxByteRate */
    int64_t topic_dispatch_msgs;     /* dispatchThrottlingRatePerTopicInMsg; and so on */
    int64_t topic_dispatch_bytes;    /* dispatchThrottlingRatePerTopicInByte */
    int64_t sub_dispatch_msgs;       /* dispatchThrottlingRatePerSubscriptionInMsg */
    int64_t sub_dispatch_bytes;      /* dispatchThrottlingRatePerSubscriptionInByte */
    int64_t broker_dispatch_msgs;    /* dispatchThrottlingRateInMsg */
    int64_t broker_dispatch_bytes;   /* dispatchThrottlingRateInByte */
    bool dispatch_relative;          /* dispatchThrottlingRateRelativeToPublishRate */
    bool dispatch_throttle_tailing;  /* dispatchThrottlingOnNonBacklogConsumerEnabled */
    bool dispatch_entries_as_messages; /* dispatchThrottlingOnBatchMessageEnabled */
    int64_t subscribe_rate;            /* subscribeThrottlingRatePerConsumer */
    int64_t subscribe_period_s;        /* subscribeRatePeriodPerConsumerInSecond */
    /* ours */
    int64_t handshake_ms;          /* tidegateHandshakeTimeoutMs */
    int64_t park_delay_ms;         /* tidegateParkDelayMs: the parking allowance as a delay */
    bool hold_producers;           /* tidegateHoldProducers */
    int64_t hold_spacing_ms;       /* tidegateHoldSpacingMs */
    int64_t initial_burst_percent; /* tidegateInitialBurstPercent */
    int64_t cursor_flush_ms;       /* tidegateCursorFlushMs */
    int64_t segment_bytes;         /* tidegateSegmentSizeMB */
    int64_t max_pending_bytes;     /* tidegateMaxPendingPublishBytesPerConnection; 0: no bound */
    int64_t max_topics;            /* tidegateMaxTopics */
    int64_t metric_rows;           /* tidegateMetricsRows */
    int64_t events_kept;           /* tidegateEventsKept */
    int64_t event_file_bytes;      /* tidegateEventFileMB */
    int64_t max_producers_per_connection, max_consumers_per_connection;
};

void settings_init(struct settings *s); /* the defaults */
void settings_fini(struct settings *s);

/* Sets one by its broker.conf name. TG_ENOENT: no such key; TG_EINVAL/TG_ERANGE with *why (caller
 * frees) naming key, value and what is allowed. */
TG_MUSTCHECK enum tg_err settings_set(struct settings *s, const char *key, const char *value,
                                      char **why);
/* May it be changed while the broker runs? (registry.h.) False also where there is none of that
 * name. */
bool settings_is_dynamic(const char *key);
/* <key>, a number or a choice, becomes what it is in <from>. */
void settings_copy_one(struct settings *to, const struct settings *from, const char *key);
/* Reads key=value lines; '#' and blank lines are skipped; unknown keys are logged as warnings. On
 * error *why names file and line too. */
TG_MUSTCHECK enum tg_err settings_read_file(struct settings *s, const char *path, char **why);
/* Checks what concerns several settings at once. */
TG_MUSTCHECK enum tg_err settings_check(const struct settings *s, char **why);

/* "256m", "2G", "1048576". TG_EINVAL, TG_ERANGE. */
TG_MUSTCHECK enum tg_err size_parse(const char *word, int64_t *bytes);

/* For GET /brokers/configuration/runtime, --help and the docs: calls <fn> with name, value as text,
 * type and documentation of each. */
void settings_each(const struct settings *s,
                   void (*fn)(void *ctx, const char *name, const char *value, const char *allowed,
                              const char *doc),
                   void *ctx);
/* The same with what the documentation says of each default: for docs/configuration.md. */
void settings_each_default(void (*fn)(void *ctx, const char *name, const char *value,
                                      const char *allowed, const char *doc),
                           void *ctx);

#endif

# Targets that compare with Apache Pulsar. They install Java 17 and Maven where those are missing, and Maven
# fetches Pulsar the first time. Nothing else needs them.

.PHONY: bench-peers bench-pulsar

build/peers/Peer.class: bench/peers/Peer.java
	$(Q)mkdir -p $(@D)
	$(Q)javac -cp "$$(tools/pulsar-classpath pulsar-broker 4.2.4)" -d $(@D) $<

bench-peers: ## the limiter against Pulsar's AsyncTokenBucket in the same loops (ROUNDS)
	$(Q)tools/setup build reference
	$(Q)$(SUBMAKE) $(JOBS) $(B)/bench/peers_bench build/peers/Peer.class
	$(Q)bench/peers.py --ours $(B)/bench/peers_bench

bench-pulsar: ## the broker next to Apache Pulsar standalone (ROUNDS)
	$(Q)tools/setup build reference
	$(Q)tools/pulsar-classpath pulsar-broker 4.2.4 >/dev/null
	$(Q)$(SUBMAKE) $(JOBS) build/tidegate $(B)/bench/load
	$(Q)bench/pulsar.py --load $(B)/bench/load

# Targets that run things: kept apart from the rules that build things (../Makefile).

format: ## format the sources
	$(Q)clang-format -i $(FORMATTED)
format-check: ## fail where the formatter would change something
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
FORMATTED = $(shell find src include tests fuzz bench examples -name '*.[ch]' 2>/dev/null)

lint: format-check ## formatter, include arrows
	$(Q)tools/check-layers

limiter-lib: $(B)/libtidegate-limiter.a
$(B)/libtidegate-limiter.a: $(B)/liblimiter.a
	$(Q)cp $< $@

bench-bin: $(BENCH_BIN)
$(B)/bench/%: bench/%.c $(ARCHIVES) | $(GEN_H)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(ARCHIVES_TOP_DOWN) $(ALL_LIBS)
$(B)/bench/load: $(LOAD_SRC) $(wildcard bench/load/*.h) $(ARCHIVES) | $(GEN_H)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $(LOAD_SRC) $(ARCHIVES_TOP_DOWN) $(ALL_LIBS)

fuzz-bin:
	$(Q)$(MAKE) --no-print-directory V=fuzz build-fuzz
build-fuzz: $(FUZZ_BIN)
build/fuzz/%_fuzz: fuzz/%_fuzz.c $(ARCHIVES) | $(GEN_H)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $< $(ARCHIVES_TOP_DOWN) $(ALL_LIBS)
SECS ?= 20
fuzz: fuzz-bin ## run each fuzzer for SECS seconds (default 20) on its corpus; needs clang
	$(Q)echo "fuzz: $(notdir $(FUZZ_BIN)), $(SECS) s each"
	$(Q)tools/run-fuzz $(SECS)

# Needs two rooms only, so that the codecs can be measured alone.
$(B)/bench/wire_bench: bench/wire_bench.c $(B)/libwire.a $(B)/libbase.a | $(GEN_H)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/libwire.a $(B)/libbase.a $(ALL_LIBS)
.PHONY: bench-wire
bench-wire: $(B)/bench/wire_bench ## CPU ns per command: codecs by hand against protobuf-c
	$(Q)$<

help: ## this list
	$(Q)grep -hE '^[a-z-]+:.*##' Makefile tools/*.mk | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

clean:
	rm -rf build

include tools/check.mk
include tools/reference.mk

# The limiter's headers name each other by room; installed, they lie side by side.
INCLUDE_DIR = $(DESTDIR)$(PREFIX)/include/tidegate
install: limiter-lib ## install to PREFIX (DESTDIR in front): the binary if built, the limiter library
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(INCLUDE_DIR)/limiter
	$(Q)if [ -e build/tidegate ]; then install -m 755 build/tidegate $(DESTDIR)$(PREFIX)/bin/; fi
	$(Q)install -m 644 $(B)/libtidegate-limiter.a $(DESTDIR)$(PREFIX)/lib/
	$(Q)install -m 644 include/tidegate/limiter.h $(INCLUDE_DIR)/
	$(Q)for h in src/limiter/*.h; do \
	  sed 's,^#include "limiter/,#include ",' $$h >$(INCLUDE_DIR)/limiter/$${h##*/} || exit 1; \
	  chmod 644 $(INCLUDE_DIR)/limiter/$${h##*/}; \
	done
	$(Q)sed 's,@PREFIX@,$(PREFIX),; s,@VERSION@,$(VERSION),' tools/tidegate-limiter.pc.in \
	  >$(DESTDIR)$(PREFIX)/lib/pkgconfig/tidegate-limiter.pc

# Needs two rooms only, so that the limiter can be measured alone.
$(B)/bench/limiter_bench: bench/limiter_bench.c $(B)/liblimiter.a $(B)/libbase.a
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(B)/liblimiter.a $(B)/libbase.a $(ALL_LIBS)
bench-limiter: $(B)/bench/limiter_bench ## CPU ns per limiter operation; also build/bench-limiter.json
	$(Q)$< build/bench-limiter.json

.PHONY: bench-path
$(B)/bench/path_bench: ALL_LIBS += $(foreach f,malloc calloc realloc aligned_alloc pthread_mutex_lock,-Wl,--wrap=$(f))
bench-path: $(B)/bench/path_bench ## CPU ns per message of the limits on its way, none reached
	$(Q)$<

.PHONY: bench-queue
bench-queue: $(B)/bench/queue_bench ## CPU ns per turn of those who wait: queues, timers, claims
	$(Q)$<

bench: build/tidegate $(B)/bench/floor $(B)/bench/load ## the broker against the floor and itself (ROUNDS, ROWS)
	$(Q)bench/run.py --floor $(B)/bench/floor --load $(B)/bench/load

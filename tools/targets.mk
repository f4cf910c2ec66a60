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

fuzz-bin:
	$(Q)$(MAKE) --no-print-directory V=fuzz build-fuzz
build-fuzz: $(FUZZ_BIN)
build/fuzz/%_fuzz: fuzz/%_fuzz.c $(ARCHIVES) | $(GEN_H)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $< $(ARCHIVES_TOP_DOWN) $(ALL_LIBS)

help: ## this list
	$(Q)grep -hE '^[a-z-]+:.*##' Makefile tools/targets.mk | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

clean:
	rm -rf build

# Set-up, running and testing. `make run` and `make check` install what a fresh Debian 12 lacks first;
# since the Makefile asks pkg-config while it is read, the building itself is a second make.

.PHONY: fuzz-regress check-parts check-build check-system-tsan asan-parts tsan-parts tsan-unit check-docs check-limiter

SUBMAKE := $(MAKE) --no-print-directory
JOBS    := -j$(shell nproc 2>/dev/null || echo 1)
PYTEST   = TIDEGATE=$(CURDIR)/$(B)/tidegate TIDEGATE_VARIANT=$(V) tools/run-pytest
# System tests wait for most of their time: so many run at once. Those of interop measure, one at a time.
SYSTEM   = $(PYTEST) tests/system -n $(or $(TEST_JOBS),2) --dist worksteal

setup: ## install everything that building and all tests need
	$(Q)tools/setup build test lint fuzz interop

run: ## set up, build, run the broker with data in ./data (ARGS="--broker-port 0 ...")
	$(Q)tools/setup build
	$(Q)$(SUBMAKE) $(JOBS) build/tidegate
	$(Q)exec build/tidegate standalone $(ARGS)

check: ## set up, then lint, unit, simulation, fuzz regression and system tests
	$(Q)tools/setup build test lint fuzz
	$(Q)$(SUBMAKE) $(JOBS) check-build
	$(Q)tools/sum-tests $(SUBMAKE) -k -j1 check-parts
check-build: build/tidegate $(B)/fault.so tests fuzz-bin
check-parts: lint check-docs check-limiter check-unit check-sim fuzz-regress check-system

check-docs: build/tidegate
	$(Q)tools/check-docs

check-limiter: limiter-lib ## the limiter library, installed by itself, and its examples
	$(Q)tools/check-limiter-install

check-system: $(B)/tidegate $(B)/fault.so ## system tests (TESTS="-k name" picks some, TEST_JOBS=1: one at a time)
	$(Q)$(SYSTEM) $(TESTS)

interop: ## official clients and pulsar-admin (LONG=1: the long ones too)
	$(Q)tools/setup build test interop
	$(Q)$(SUBMAKE) $(JOBS) build/tidegate
	$(Q)tools/sum-tests $(SUBMAKE) -k -j1 interop-python interop-admin
.PHONY: interop-python interop-admin
interop-python: $(B)/tidegate $(B)/bench/load
	$(Q)$(PYTEST) tests/interop --ignore tests/interop/test_other_clients.py $(TESTS)
interop-admin: $(B)/tidegate
	$(Q)TIDEGATE=$(CURDIR)/$(B)/tidegate tests/interop/pulsar-admin.sh

.PHONY: interop-clients
interop-clients: ## the Go and Java clients (CLIENTS="go-0.21.0 java-4.0.7", all by default; LONG=1: the long ones too)
	$(Q)tools/setup build test interop-clients
	$(Q)$(SUBMAKE) $(JOBS) build/tidegate
	$(Q)tests/interop/clients/build.sh $(CLIENTS)
	$(Q)CLIENTS="$(CLIENTS)" $(PYTEST) tests/interop/test_other_clients.py $(TESTS)

check-workers: ## the shorter system and client tests with other numbers of workers than the usual two (COUNTS="1 4")
	$(Q)tools/setup build test interop
	$(Q)$(SUBMAKE) $(JOBS) build/tidegate $(B)/fault.so
	$(Q)tools/sum-tests $(SUBMAKE) -k -j1 $(addprefix check-workers-,$(COUNTS))
COUNTS ?= 1 4
.PHONY: check-workers
check-workers-%: $(B)/tidegate $(B)/bench/load
	$(Q)WORKERS=$* $(SYSTEM) -m 'not slow' $(TESTS)
	$(Q)WORKERS=$* $(PYTEST) tests/interop -m 'not slow' $(TESTS)

check-crash: ## kill -9 under load and look what is there (ROUNDS=20, WORKERS=2)
	$(Q)tools/setup build test
	$(Q)$(SUBMAKE) $(JOBS) $(B)/tidegate $(B)/fault.so
	$(Q)ROUNDS=$(or $(ROUNDS),20) $(PYTEST) tests/crash $(TESTS)

check-power: $(B)/tests/store/power_test ## power cuts, simulated, and look what is there (ROUNDS=1000, SEED=n)
	$(Q)ROUNDS=$(or $(ROUNDS),1000) $<
.PHONY: check-power

# gcc's sanitizers make it warn of what is none, so these builds don't turn warnings into errors.
asan: ## unit, simulation and system tests with address and undefined-behaviour sanitizers
	$(Q)tools/setup build test
	$(Q)CI= $(SUBMAKE) $(JOBS) V=asan build/asan/tidegate tests
	$(Q)CI= tools/sum-tests $(SUBMAKE) V=asan -k -j1 asan-parts
asan-parts: check-unit check-sim check-system

tsan: ## unit and simulation tests and a part of the system tests with the thread sanitizer
	$(Q)tools/setup build test
	$(Q)CI= $(SUBMAKE) $(JOBS) V=tsan build/tsan/tidegate tests
	$(Q)CI= tools/sum-tests $(SUBMAKE) V=tsan -k -j1 tsan-parts
tsan-parts: check-unit check-sim check-system-tsan
tsan-unit: ## unit tests with the thread sanitizer (simulations have one thread)
	$(Q)tools/setup build test
	$(Q)CI= $(SUBMAKE) $(JOBS) V=tsan tests
	$(Q)CI= tools/sum-tests $(SUBMAKE) V=tsan -k -j1 check-unit
check-system-tsan: $(B)/tidegate $(B)/fault.so
	$(Q)$(SYSTEM) -m 'not slow' $(TESTS)

# What makes disks fail, for the system tests: preloaded into the broker.
$(B)/fault.so: tests/shim/fault.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g $(WARN) -shared -fPIC -o $@ $< -ldl -lpthread

fuzz-regress: fuzz-bin ## every fuzz target over its corpus and all that was ever found
	$(Q)tools/run-fuzz 0

.PHONY: soak
soak: ## mixed load: is memory flat, are rates exact to the end? (SECS=600, WORKERS=2)
	$(Q)tools/setup build test
	$(Q)$(SUBMAKE) $(JOBS) $(B)/tidegate
	$(Q)SECS=$(if $(filter command% environment%,$(origin SECS)),$(SECS),600) $(PYTEST) tests/soak -s $(TESTS)

# Tidegate. One Makefile, not recursive. `make help` lists the targets.
#
# Everything built goes to build/<variant>/, so that variants live side by side; `make` also puts the
# release binary at build/tidegate. Sources are found by wildcard: a new file needs no entry here.

V        ?= release
CC       ?= cc
PREFIX   ?= /usr/local
VERSION  := 0.1.0
B        := build/$(V)
Q        := $(if $(VERBOSE),,@)

ROOMS    := base limiter wire net store quota throttle broker admin cli

# What each room may use, below it: the arrows of docs/ARCHITECTURE.md. tools/check-layers reads this
# table; the unit tests of a room link these archives and no others.
uses_base     :=
uses_limiter  := base
uses_wire     := base
uses_net      := base
uses_store    := base
uses_quota    := limiter base
uses_throttle := quota limiter base
uses_broker   := throttle quota limiter wire net store base
uses_admin    := broker throttle quota limiter wire net store base
uses_cli      := admin broker throttle quota limiter wire net store base

PKGS     := libuv libprotobuf-c libmicrohttpd libcurl jansson sqlite3 libxxhash
PKG_C    := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_L    := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN     := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wconversion \
            -Wno-sign-conversion -Wcast-qual -Wformat=2 -Wvla $(if $(CI),-Werror)
CFLAGS_release := -O2 -g
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -fsanitize=thread
CFLAGS_fuzz    := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all \
                  -fno-omit-frame-pointer
LIBS_release   := -ljemalloc
ifeq ($(V),fuzz)
CC       := clang
endif
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DTIDEGATE_VERSION='"$(VERSION)"' -Isrc -Iinclude -I$(B)/gen \
              $(PKG_C) $(CFLAGS_$(V)) $(WARN) $(CFLAGS)
ALL_LIBS   := $(PKG_L) -lpthread -lm $(LIBS_$(V)) $(LDFLAGS)

GEN_C    := $(B)/gen/wire/pulsar.pb-c.c
GEN_H    := $(B)/gen/wire/pulsar.pb-c.h
src_of    = $(wildcard src/$(1)/*.c)
obj_of    = $(patsubst src/%.c,$(B)/obj/%.o,$(call src_of,$(1)))
ARCHIVES := $(foreach r,$(ROOMS),$(B)/lib$(r).a)
ARCHIVES_TOP_DOWN := $(foreach r,cli admin broker throttle quota limiter wire net store base,$(B)/lib$(r).a)

UNIT_SRC  := $(wildcard tests/unit/*/*_test.c)
UNIT_BIN  := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
SIM_SRC   := $(wildcard tests/sim/*_test.c)
SIM_BIN   := $(patsubst tests/sim/%.c,$(B)/tests/sim/%,$(SIM_SRC))
FUZZ_SRC  := $(wildcard fuzz/*_fuzz.c)
FUZZ_BIN  := $(patsubst fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))
BENCH_SRC := $(wildcard bench/*.c)
LOAD_SRC  := $(wildcard bench/load/*.c)
BENCH_BIN := $(patsubst bench/%.c,$(B)/bench/%,$(BENCH_SRC)) $(B)/bench/load

.DELETE_ON_ERROR:
.PHONY: all run setup check check-unit check-sim check-system check-crash interop asan tsan fuzz \
        bench bench-limiter limiter-lib install format format-check lint help clean tests bench-bin

all: build/tidegate limiter-lib ## build the binary, at build/tidegate, and the limiter library

build/tidegate: $(B)/tidegate
	$(Q)ln -sf $(V)/tidegate $@

$(B)/tidegate: $(B)/obj/main.o $(ARCHIVES)
	$(Q)echo "  LINK  $@"
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(ARCHIVES_TOP_DOWN) $(ALL_LIBS)

define room_rule
$(B)/lib$(1).a: $(call obj_of,$(1)) $(if $(filter wire,$(1)),$(B)/obj/wire/pulsar.pb-c.o)
	$(Q)rm -f $$@ && ar crs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

# gcc and clang alike: dependencies beside the objects. Generated headers come first.
$(B)/obj/%.o: src/%.c | $(GEN_H)
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(GEN_C) $(GEN_H) &: src/wire/pulsar.proto
	$(Q)mkdir -p $(B)/gen
	$(Q)protoc-c --proto_path=src --c_out=$(B)/gen $<

$(B)/obj/wire/pulsar.pb-c.o: $(GEN_C)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -w -c -o $@ $<

# ---- tests: each file is a program; a unit test links its room and what that room may use ----

room_of_test = $(word 1,$(subst /, ,$*))
$(B)/tests/sim/%: tests/sim/%.c $(B)/libthrottle.a $(B)/libquota.a $(B)/liblimiter.a $(B)/libbase.a
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP -o $@ $< $(filter %.a,$^) -lcmocka $(ALL_LIBS)

$(B)/tests/%: tests/unit/%.c $(ARCHIVES) | $(GEN_H)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP -o $@ $< \
	  $(foreach r,$(room_of_test) $(uses_$(room_of_test)),$(B)/lib$(r).a) -lcmocka $(ALL_LIBS)

tests: $(UNIT_BIN) $(SIM_BIN)

check-unit: $(UNIT_BIN) ## unit tests
	$(Q)tools/run-tests $(UNIT_BIN)
check-sim: $(SIM_BIN) ## property and simulation tests on a virtual clock (SEED=n, SEEDS=count)
	$(Q)tools/run-tests $(SIM_BIN)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

include tools/targets.mk

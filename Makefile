# SPDX-License-Identifier: Apache-2.0
#
# Builds mod_apiquota, its worker and its command-line tool, out of tree, into $(BUILD).
#
#   src/{base,limit,identity,batch,store}  -> libapiquota.a      links without httpd
#   mod_apiquota.c, src/httpd              -> mod_apiquota.so    the httpd module
#   src/worker                             -> apiquota-worker    adds libcurl
#   src/ctl                                -> apiquotactl
#   tests/unit, tests/contract             -> tests/…/test_*     one Check program a file
#   tests/fuzz                             -> tests/fuzz/fuzz_*  one fuzz target a file
#
# `make help` lists the targets and the variables.

BUILD     ?= build
CC        := $(if $(filter default,$(origin CC)),gcc,$(CC))
AR        ?= ar
SANITIZER ?=
WERROR    ?= -Werror
AQ_JOBS   ?= 3
PORT      ?= 8080
PROFILE   ?=
RELEASE   ?= bookworm
prefix     ?= /usr
sbindir    ?= $(prefix)/sbin
libexecdir ?= $(prefix)/libexec
mandir     ?= $(prefix)/share/man
docdir     ?= $(prefix)/share/doc/mod_apiquota
bashdir    ?= $(prefix)/share/bash-completion/completions
modsdir    ?= /etc/apache2/mods-available
DESTDIR   ?=
SERVER    ?=

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

comma := ,
O := $(BUILD)$(if $(SANITIZER),/sanitizer-$(subst $(comma),-,$(SANITIZER)))$(if $(FUZZER),-fuzzer)

# ---- flags ---------------------------------------------------------------------------------------
# Asked for when a recipe first needs them, and once: on a bare system `make deps` must run before.
once = $(eval $(1) := $(shell $(2)))$($(1))

APXS        ?= $(firstword $(wildcard /usr/bin/apxs2 /usr/bin/apxs) apxs)
HTTPD_INC    = $(call once,HTTPD_INC,$(APXS) -q INCLUDEDIR)
HTTPD_MODS   = $(call once,HTTPD_MODS,$(APXS) -q LIBEXECDIR)
APR_CPPFLAGS = $(call once,APR_CPPFLAGS,apr-1-config --cppflags)
APR_INC      = $(call once,APR_INC,apr-1-config --includedir)
APU_INC      = $(call once,APU_INC,apu-1-config --includedir)
APR_LIBS     = $(call once,APR_LIBS,apr-1-config --link-ld && apu-1-config --link-ld)
PKG_CFLAGS   = $(call once,PKG_CFLAGS,pkg-config --cflags $(PACKAGES))
PKG_LIBS     = $(call once,PKG_LIBS,pkg-config --libs $(PACKAGES))
# hiredis knows TLS from 1.0 on; that of Debian 12 does not.
TLS_CFLAGS   = $(if $(HIREDIS_SSL),-DAQ_HAVE_REDIS_TLS)
HIREDIS_SSL  = $(call once,HIREDIS_SSL,pkg-config --exists hiredis_ssl && echo hiredis_ssl libssl)
PACKAGES     = jansson sqlite3 libcrypto hiredis $(HIREDIS_SSL)
CURL_LIBS    = $(call once,CURL_LIBS,pkg-config --libs libcurl)
CHECK_LIBS   = $(call once,CHECK_LIBS,pkg-config --libs check)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wformat=2 -Wundef -Wwrite-strings -Wimplicit-fallthrough $(WERROR)
HARDEN   := $(if $(SANITIZER),-fsanitize=$(SANITIZER) -fno-sanitize-recover=all -fno-omit-frame-pointer,\
            -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
OPTIMISE := $(if $(SANITIZER),-O1,-O2) -g

# APR's and httpd's headers count as system headers, so that the warnings are about our code.
CPPFLAGS_LIB   = $(strip $(APR_CPPFLAGS) -Isrc -isystem $(APR_INC) -isystem $(APU_INC) $(PKG_CFLAGS) $(TLS_CFLAGS) \
                 -DAQ_WORKER_PATH='"$(libexecdir)/apiquota-worker"')
CPPFLAGS_HTTPD = $(CPPFLAGS_LIB) -isystem $(HTTPD_INC)
VISIBILITY := hidden
CFLAGS_ALL     = $(strip -std=c11 $(OPTIMISE) -fPIC -pthread -fvisibility=$(VISIBILITY) $(HARDEN) $(WARNINGS) $(CFLAGS))
LDFLAGS_ALL    = $(strip -pthread -Wl,--as-needed -Wl,-z,relro -Wl,-z,now \
                 $(if $(SANITIZER),-fsanitize=$(SANITIZER) $(if $(FUZZER),,$(if $(findstring clang,$(CC)),-shared-libsan -Wl$(comma)-rpath$(comma)$(dir $(RUNTIME_SO))))) $(LDFLAGS))

# ---- sources -------------------------------------------------------------------------------------
LIB_SRC     := $(wildcard $(foreach d,base limit identity batch store,src/$(d)/*.c))
HTTPD_SRC   := $(wildcard mod_apiquota.c src/httpd/*.c)
WORKER_SRC  := $(wildcard src/worker/*.c)
CTL_SRC     := $(wildcard src/ctl/*.c)
TEST_SRC    := $(wildcard $(foreach d,unit contract,tests/$(d)/*.c tests/$(d)/*/*.c))
TEST_MAINS  := $(foreach f,$(TEST_SRC),$(if $(filter test_%,$(notdir $(f))),$(f)))
BENCH_SRC   := $(wildcard tests/bench/*.c)
FUZZ_SRC    := $(wildcard tests/fuzz/*.c)
FUZZ_MAINS  := $(wildcard tests/fuzz/fuzz_*.c)
ALL_SRC     := $(LIB_SRC) $(HTTPD_SRC) $(WORKER_SRC) $(CTL_SRC) $(TEST_SRC) $(BENCH_SRC) $(FUZZ_SRC)

objects      = $(patsubst %.c,$(O)/obj/%.o,$(1))
TEST_PROGS  := $(patsubst tests/%.c,$(O)/tests/%,$(TEST_MAINS))
BENCH_PROGS := $(patsubst tests/%.c,$(O)/tests/%,$(BENCH_SRC))
FUZZ_PROGS  := $(patsubst tests/%.c,$(O)/tests/%,$(FUZZ_MAINS))
# What tests may link beside the library: the programs but their main(), and the tests' own helpers. Only tests of
# src/httpd see the module's files (those that call nothing of httpd): all others build without httpd.
AUX_OBJ       := $(call objects,$(filter-out $(TEST_MAINS) %/main.c,$(WORKER_SRC) $(CTL_SRC) $(TEST_SRC)))
AUX_HTTPD_OBJ := $(call objects,$(filter-out mod_apiquota.c,$(HTTPD_SRC)))

LIB    := $(O)/libapiquota.a
MODULE := $(if $(HTTPD_SRC),$(O)/mod_apiquota.so)
WORKER := $(if $(WORKER_SRC),$(O)/apiquota-worker)
CTL    := $(if $(CTL_SRC),$(O)/apiquotactl)

.PHONY: all build deps
all: $(O)/compile_commands.json $(LIB) $(MODULE) $(WORKER) $(CTL)

deps:
	@vagrant/provision.sh

# ---- rules ---------------------------------------------------------------------------------------
# A stamp changes only when its text does; what depends on it is then built anew.
.PHONY: always
$(O)/stamp-flags: text = $(CC) $(CFLAGS_ALL) $(CPPFLAGS_HTTPD) $(LDFLAGS_ALL)
$(O)/stamp-sources: text = $(ALL_SRC)
$(O)/stamp-flags $(O)/stamp-sources: always
	@for tool in $(firstword $(CC)) $(APXS) apr-1-config pkg-config; do command -v $$tool >/dev/null || \
	    { echo "$$tool is missing: run \`make deps\` first" >&2; exit 1; }; done
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(text)) | cmp -s - $@ || printf '%s\n' $(call quote,$(text)) > $@
quote = '$(subst ','\'',$(1))'

cppflags_of = $(strip $(if $(filter mod_apiquota.c src/httpd/% tests/unit/httpd/%,$(1)),$(CPPFLAGS_HTTPD),$(CPPFLAGS_LIB)) \
              $(if $(filter tests/%,$(1)),-Itests))

# The module record alone is visible to httpd.
$(O)/obj/mod_apiquota.o: private VISIBILITY := default

$(O)/obj/%.o: %.c $(O)/stamp-flags
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(call cppflags_of,$<) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# Style and script of the status page are in it.
$(O)/obj/src/httpd/status_assets.o: src/httpd/status.css src/httpd/status.js
# So is the script of the queue in Redis.
$(O)/obj/src/store/redis_queue_script.o: $(wildcard src/store/redis_queue_*.lua)

archive = @mkdir -p $(@D) && echo "  AR      $@" && rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(LIB): $(call objects,$(LIB_SRC)) $(O)/stamp-sources
	$(archive)

$(O)/tests/libaux.a: $(AUX_OBJ) $(O)/stamp-sources
	$(archive)

$(O)/tests/libaux-httpd.a: $(AUX_HTTPD_OBJ) $(O)/stamp-sources
	$(archive)

link = @mkdir -p $(@D) && echo "  LINK    $@" && $(CC) $(1) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDFLAGS_ALL)

$(O)/module.map: | $(O)/stamp-flags
	@echo '{ global: apiquota_module; local: *; };' > $@

# httpd's own symbols resolve when httpd loads the module, so -z defs cannot be asked for.
$(O)/mod_apiquota.so: $(call objects,$(HTTPD_SRC)) $(LIB) $(O)/module.map
	$(call link,-shared) -Wl,--version-script=$(O)/module.map $(PKG_LIBS) $(APR_LIBS)

$(O)/apiquota-worker: $(call objects,$(WORKER_SRC)) $(LIB)
	$(call link) $(CURL_LIBS) $(PKG_LIBS) $(APR_LIBS)

$(O)/apiquotactl: $(call objects,$(CTL_SRC)) $(LIB)
	$(call link) $(PKG_LIBS) $(APR_LIBS)

$(filter $(O)/tests/unit/httpd/%,$(TEST_PROGS)): $(O)/tests/libaux-httpd.a
$(TEST_PROGS): $(O)/tests/%: $(O)/obj/tests/%.o $(O)/tests/libaux.a $(LIB)
	$(call link) $(CHECK_LIBS) $(CURL_LIBS) $(PKG_LIBS) $(APR_LIBS)

$(BENCH_PROGS): $(O)/tests/%: $(O)/obj/tests/%.o $(LIB)
	$(call link) -lm $(PKG_LIBS) $(APR_LIBS)

# Without libFuzzer replay.c calls the target.
$(FUZZ_PROGS): $(O)/tests/%: $(O)/obj/tests/%.o $(O)/obj/tests/fuzz/fuzz.o $(if $(FUZZER),,$(O)/obj/tests/fuzz/replay.o) \
                             $(O)/tests/libaux.a $(LIB)
	$(call link) $(if $(FUZZER),-fsanitize=fuzzer) $(CHECK_LIBS) $(CURL_LIBS) $(PKG_LIBS) $(APR_LIBS)

# How each file is compiled: for clang-tidy, the guards and editors.
json = {"directory":"$(CURDIR)","file":"$(1)","command":"$(subst ",\",$(CC) $(call cppflags_of,$(1)) $(CFLAGS_ALL) -c $(1))"}
# Written by make itself: together the commands are longer than what a shell can be given.
$(O)/compile_commands.json: $(O)/stamp-flags $(O)/stamp-sources
	@$(file >$@,[)$(foreach f,$(ALL_SRC),$(file >>$@,$(call json,$(f))$(if $(filter $(f),$(lastword $(ALL_SRC))),,$(comma))))$(file >>$@,])true

-include $(patsubst %.o,%.d,$(call objects,$(ALL_SRC)))

# ---- tests ---------------------------------------------------------------------------------------
# tests/run prints what failed and, last, `N passed, N failed`.  T= narrows it, for instance
# `make check-unit T=test_rate` or `make check-http T='-k retry_after'`.
parallel = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
# Two of these goals at once would build the same files twice, side by side.
ifneq ($(word 2,$(filter check% lint demo bench,$(MAKECMDGOALS))),)
.NOTPARALLEL:
endif
again    = +@$(MAKE) --no-print-directory $(parallel)

RUNTIME_SO = $(strip $(if $(findstring address,$(SANITIZER)),$(call runtime,asan),$(if $(findstring thread,$(SANITIZER)),$(call runtime,tsan),\
             $(if $(findstring undefined,$(SANITIZER)),$(call runtime,ubsan)))))
runtime    = $(shell $(CC) -print-file-name=$(if $(findstring clang,$(CC)),libclang_rt.$(1)$(if $(filter ubsan,$(1)),_standalone)-$(shell uname -m).so,lib$(1).so))

TEST_ENV = AQ_BUILD='$(abspath $(O))' AQ_JOBS='$(AQ_JOBS)' AQ_CC='$(CC)' AQ_SANITIZER='$(SANITIZER)' AQ_LD_PRELOAD='$(RUNTIME_SO)' \
           AQ_HTTPD_MODULES='$(HTTPD_MODS)' PYTHONDONTWRITEBYTECODE=1
run_tests = @$(TEST_ENV) tests/run

.PHONY: test-programs check check-unit check-contract check-fuzz check-http lint
test-programs: $(TEST_PROGS) $(FUZZ_PROGS)

check check-unit check-contract check-fuzz check-http lint: deps
	$(again) run-$@

.PHONY: run-check run-check-unit run-check-contract run-check-fuzz run-check-http run-lint
run-check: all test-programs
	$(run_tests) unit contract fuzz http $(if $(SANITIZER),,guards)
run-check-unit: test-programs
	$(run_tests) unit $(T)
run-check-contract: test-programs
	$(run_tests) contract $(T)
run-check-fuzz: $(FUZZ_PROGS)
	$(run_tests) fuzz $(T)
run-check-http: all
	$(run_tests) http $(T)
run-lint: all test-programs
	$(run_tests) guards $(T)

# The thousands: what takes minutes by itself. Guards and sanitizers are `make check`'s.
.PHONY: check-long run-check-long
check-long: deps
	$(again) run-$@
run-check-long: all test-programs
	@AQ_LONG=1 $(TEST_ENV) tests/run unit contract http $(T)

# Every read of what was never written, in hours; T= narrows it, for instance T=fuzz or T=contract/test_queue.
.PHONY: check-valgrind run-check-valgrind
check-valgrind: deps
	$(again) run-$@
run-check-valgrind: test-programs
	@$(TEST_ENV) CK_DEFAULT_TIMEOUT=3600 AQ_PROGRAM_TIMEOUT=7200 \
	    AQ_WRAPPER='valgrind -q --error-exitcode=99 --exit-on-first-error=yes --suppressions=$(CURDIR)/tests/valgrind.supp' tests/run unit contract fuzz $(T)

# What Redis is asked for, of another server: a path, or a name in PATH.
.PHONY: check-redis run-check-redis
check-redis: deps
	$(again) run-$@
run-check-redis: all test-programs
	@[ -n '$(SERVER)' ] || { echo 'SERVER= is missing, as in SERVER=valkey-server' >&2; exit 1; }
	@export AQ_REDIS_SERVER="$$(command -v '$(SERVER)')" $(TEST_ENV) && [ -n "$$AQ_REDIS_SERVER" ] && \
	    tests/run unit store/test_redis && tests/run contract && tests/run http $(notdir $(wildcard tests/http/test_redis*.py))

.PHONY: check-bare
check-bare:
	SUITE='$(RELEASE)' tests/guards/bare_root.sh

.PHONY: format
format:
	@clang-format -i $(if $(T),$(T),$(wildcard mod_apiquota.c $(foreach d,src/* tests/* tests/*/*,$(d)/*.[ch])))

# ---- demo, measurements --------------------------------------------------------------------------
.PHONY: demo demo-stop bench run-demo run-bench
demo bench: deps
	$(again) run-$@
run-demo: all
	@$(TEST_ENV) PORT='$(PORT)' PROFILE='$(PROFILE)' conf/demo/demo.sh start
demo-stop:
	@AQ_BUILD='$(abspath $(O))' PORT='$(PORT)' PROFILE='$(PROFILE)' conf/demo/demo.sh stop
run-bench: all $(BENCH_PROGS)
	@$(TEST_ENV) tests/bench/run $(T)

# ---- fuzzing -------------------------------------------------------------------------------------
# T= a target (all unless named), SECONDS= for each.  What it finds that is new stays in $(BUILD)/…/fuzz/NAME.
SECONDS ?= 60
.PHONY: fuzz run-fuzz
fuzz: deps
	$(again) run-fuzz CC=clang SANITIZER=address,undefined FUZZER=1 CFLAGS='-fsanitize=fuzzer-no-link'
run-fuzz: $(FUZZ_PROGS)
	@for target in $(or $(T),$(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_MAINS))); do \
	    mkdir -p $(O)/fuzz/$$target && echo "  FUZZ    $$target" && \
	    $(O)/tests/fuzz/fuzz_$$target -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=$(O)/fuzz/$$target- $(O)/fuzz/$$target tests/fuzz/corpus/$$target || exit 1; done

# ---- install, clean, help ------------------------------------------------------------------------
.PHONY: install clean help
install: all
	install -D -m 644 $(O)/mod_apiquota.so '$(DESTDIR)$(HTTPD_MODS)/mod_apiquota.so'
	install -D -m 755 $(O)/apiquotactl '$(DESTDIR)$(sbindir)/apiquotactl'
	install -D -m 755 $(O)/apiquota-worker '$(DESTDIR)$(libexecdir)/apiquota-worker'
	install -d '$(DESTDIR)$(mandir)/man8' '$(DESTDIR)$(modsdir)' '$(DESTDIR)$(docdir)'
	install -m 644 docs/man/*.8 '$(DESTDIR)$(mandir)/man8'
	install -D -m 644 conf/completion/apiquotactl.bash '$(DESTDIR)$(bashdir)/apiquotactl'
	for file in README.md SECURITY.md $$(find docs -name '*.md' -o -name '*.yaml') conf/apiquota.conf $(wildcard $(addprefix conf/,profiles/* monitoring/*)); do \
	    install -D -m 644 "$$file" '$(DESTDIR)$(docdir)'/"$$file" || exit 1; done
	@# What an administrator has changed stays.
	for file in conf/mods-available/*; do to='$(DESTDIR)$(modsdir)'/$${file##*/}; \
	    [ -e "$$to" ] || install -m 644 "$$file" "$$to" || exit 1; done

# A copy is built, so that the tree stays as it is; the packages come to $(BUILD).  They are tested by `make check-deb`.
.PHONY: deb check-deb
deb: deps
	tests/package/build_deb.sh '$(abspath $(BUILD))'
check-deb:
	RELEASE='$(RELEASE)' tests/package/bare_deb.sh

clean:
	rm -rf '$(BUILD)'

help:
	@echo 'make              build into $$(BUILD) (build/)'
	@echo 'make deps         install the Debian packages that build, demo and tests need'
	@echo 'make demo         deps, build, and a private httpd on 127.0.0.1:$$PORT with the tour; PROFILE= serves a profile'
	@echo 'make demo-stop    end it'
	@echo 'make check        deps, build, every test; the last line is `N passed, N failed`'
	@echo 'make fuzz         libFuzzer, each target of tests/fuzz for $$(SECONDS); T= narrows'
	@echo '     check-unit, check-contract, check-http, lint: one suite of it; T= narrows'
	@echo 'make check-long   the same with the long tests: 1,000 kills, 600 power cuts, a soak of $$SOAK minutes; T= narrows'
	@echo 'make check-redis  what concerns Redis, with another server: SERVER=valkey-server'
	@echo 'make format       clang-format in place; T= names the files'
	@echo 'make check-bare   README'\''s commands in a bare Debian: RELEASE=bookworm|trixie (root, debootstrap)'
	@echo 'make bench        the measurements'
	@echo 'make install      into $$(DESTDIR); prefix=/usr'
	@echo 'make deb          Debian packages, into $$(BUILD)'
	@echo 'make check-deb    the packages in a bare Debian: RELEASE=bookworm|trixie (root, debootstrap)'
	@echo 'make clean        remove $$(BUILD)'
	@echo
	@echo 'Variables: BUILD CC=gcc|clang SANITIZER=address,undefined|thread CFLAGS LDFLAGS AQ_JOBS PORT PROFILE T DESTDIR prefix'

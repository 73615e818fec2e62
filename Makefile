# wsgi-cgi - GNU make, no configure. "make help" lists the targets.
#
# Variables worth setting on the command line:
#   PYTHON=/path/to/python3   embed this one (default: pkg-config python3-embed)
#   LINK=static|shared        libpython; default: static where it is whole
#   FCGI=static|shared        libfcgi; default: static where it exists
#   VARIANT=release|debug|asan|tsan     BUILD=DIR     CC, CFLAGS, LDFLAGS
#   PREFIX, DESTDIR           V=1 shows the commands
#   TEST_JOBS=N, SERVER_JOBS=N   tests of tests/gateway and tests/servers that
#                                run at the same time

VERSION := 0.1.0

VARIANT ?= release
BUILD   ?= build/$(VARIANT)
PREFIX  ?= /usr/local
DESTDIR ?=
FCGI    ?=
LINK    ?=
PYTHON  ?=
V       ?=
# The tests and lint scripts run on the system's python3: a first python3 on
# PATH of another kind has none of the packages they need.
TEST_PYTHON ?= /usr/bin/python3
PYTEST_ARGS ?=
# Most tests wait for something most of the time: more at once than processors.
# Those of tests/servers wait longest, for the ticks of web servers that end; but
# one of them starts several servers, or a browser. Sanitizers compute more.
TEST_JOBS   ?= $(shell echo $$(($(if $(filter asan tsan,$(VARIANT)),3,4) * $$(nproc))))
SERVER_JOBS ?= $(shell echo $$((2 * $$(nproc))))

# The scripts are not to leave bytecode in the tree.
export PYTHONDONTWRITEBYTECODE := 1

ifeq ($(origin CC),default)
CC := gcc
endif
JOBS := -j$(shell nproc)
Q := $(if $(V),,@)
SUBMAKE = $(MAKE) --no-print-directory
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# --- sources, lowest layer first: a file may include its own layer and lower --

LAYERS := base text os conf net queue gateway transport doctor client python debug \
          context app wsgi status process warm instances reload worker \
          master mode
# Those that include <Python.h>.
PYTHON_LAYERS := python debug context app wsgi

SRC_base      := buf clock cpu_count cpu_limit hash timer_thread
SRC_text      := html json num signal_name text_writer token url utf8
SRC_os        := fd file_id log log_file memory path_absolute path_access \
                 safe_path user_lookup
SRC_conf      := argv command_line config options other_programs shebang \
                 suggest value
SRC_net       := acl address conn fd_passing fd_reserve listener poller \
                 socket_file
SRC_queue     := listen_queue queue_time unix_diag
SRC_gateway   := access_log params params_correct path request request_id \
                 response response_head rewrite x_sendfile
SRC_transport := cgi fcgi fcgi_body fcgi_os fcgi_out fcgi_parser \
                 late_lines other_protocol spool wait
SRC_doctor    := doctor doctor_advice doctor_page
SRC_client    := client_response connection fcgi_client fcgi_records \
                 ping_command relay relay_command request_command \
                 request_params status_command upload
SRC_python    := finalize gil_state gil_task interp prefault python_fork \
                 python_signals site venv
SRC_debug     := debug_page find_below import_hint own_stack slow_load \
                 stack_dump thread_stack traceback
SRC_context   := error_stream input_stream interrupt request_guard \
                 request_timeout
SRC_app       := app_cache app_spec bytecode callable failed_imports imports \
                 loader scripts spawn
SRC_wsgi      := after_response environ failure file_wrapper handler module \
                 response_body start_response wsgi_python
SRC_status    := control exit_idle notify running_requests scoreboard \
                 status status_html status_json status_metrics \
                 status_snapshot status_text
SRC_process   := environment finalize_timeout forked_child logs pid_file \
                 privs process_title service_log signals
SRC_warm      := warm_busy warm_connect warm_environment warm_folder warm_name \
                 warm_request warm_start warm_status warm_sweep
SRC_instances := instance_explain instance_find instance_print instance_stop
SRC_reload    := file_watcher reload_pipe restart touch_files
SRC_worker    := conn_passing control_thread graceful_stop pool rebalance \
                 request_threads watchdog worker worker_conns
SRC_master    := master master_drain master_elastic master_fork master_reload master_workers \
                 master_zygotes zygote zygote_table
SRC_mode      := cgi_process cgi_timeout check fcgi_process math_library \
                 script_check sockets start_mode startup

layer = $(patsubst %,src/$(1)/%.c,$(SRC_$(1)))
SRC   := src/main.c $(foreach l,$(LAYERS),$(call layer,$(l)))

unlisted := $(filter-out $(SRC),$(wildcard src/*.c src/*/*.c))
ifneq ($(unlisted),)
$(warning not in the Makefile, so not built: $(unlisted))
endif

UNIT_SRC := $(wildcard tests/unit/test_*.c)

OBJ      := $(SRC:src/%.c=$(BUILD)/obj/%.o)
# What needs no Python: one archive for all unit tests, which use the real libm.
CORE_OBJ := $(filter-out $(BUILD)/obj/main.o $(BUILD)/obj/mode/math_library.o \
            $(foreach l,$(PYTHON_LAYERS),$(BUILD)/obj/$(l)/%.o),$(OBJ))
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)
PROGRAM  := $(BUILD)/wsgi-cgi
# What a CGI process with --keep-warm runs, side by side: each 64 KiB that it
# touches is a page fault.
LINK_FIRST := main $(foreach l,base text os conf gateway warm client,$(SRC_$(l):%=$(l)/%)) \
              transport/cgi transport/spool transport/wait mode/cgi_process \
              mode/start_mode process/logs process/signals process/environment
LINK_FIRST := $(LINK_FIRST:%=$(BUILD)/obj/%.o)
LINK_OBJ   := $(LINK_FIRST) $(filter-out $(LINK_FIRST),$(OBJ))

# --- what is built only after the packages are there --------------------------

# These goals must work on a machine that has nothing but make: they look for
# no Python and no compiler, and start a second make where they build.
BARE := help clean dist uninstall deps deps-test deps-lint demo check \
        check-servers bench bench-smoke bench-compare deps-bench check-asan \
        check-tsan lint lint-light lint-layers lint-banned \
        lint-length lint-words lint-man lint-shell lint-selftest lint-cppcheck \
        format format-check
ifneq ($(filter-out $(BARE),$(or $(MAKECMDGOALS),all)),)

include $(BUILD)/python.mk

python_asked := PYTHON=$(PYTHON) LINK=$(LINK) CC=$(CC)
python_stamp := $(shell stat -Lc %n:%s:%Y $(PYTHON_INPUTS) 2>/dev/null)
ifneq ($(strip $(PYTHON_ASKED) $(PYTHON_STAMP)),\
$(strip $(python_asked) $(python_stamp)))
$(BUILD)/python.mk: FORCE
endif

has_archive = $(findstring /,$(shell $(CC) -print-file-name=lib$(1).a))
ifeq ($(FCGI),)
fcgi_mode := $(if $(call has_archive,fcgi),static,shared)
else
fcgi_mode := $(FCGI)
endif
ifeq ($(fcgi_mode),static)
FCGI_LIBS := -l:libfcgi.a -Wl,--exclude-libs,libfcgi.a
else ifeq ($(fcgi_mode),shared)
FCGI_LIBS := -lfcgi
else
$(error FCGI is '$(FCGI)'; it can be static, shared or empty)
endif

is_clang := $(findstring clang,$(shell $(CC) --version))
gcc_major := $(if $(is_clang),,$(firstword $(subst ., ,\
    $(shell $(CC) -dumpversion))))
# Level 3 needs glibc 2.34 and gcc 12 or clang; asking for too much warns.
fortify := $(shell echo '\#include <features.h>' | $(CC) -O2 -Werror -E \
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 - >/dev/null 2>&1 && echo 3 || echo 2)
endif

$(BUILD)/python.mk: tools/python-probe tools/hacl_blake2.c \
    tools/hacl_blake2_word.h
	$(Q)PYTHON='$(PYTHON)' LINK='$(LINK)' CC='$(CC)' \
	    tools/python-probe $(BUILD)

# --- flags: ours in PROG_*; CFLAGS and LDFLAGS are the user's ------------------

CFLAGS_release := -O2 -g
CFLAGS_debug   := -Og -g3
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
                  -fno-sanitize-recover=undefined
CFLAGS_tsan    := -O1 -g -fsanitize=thread

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
    -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef \
    -Wformat=2 -Wvla -Wnull-dereference -Wconversion -Wsign-conversion \
    -Wswitch-enum -fno-common
ifeq ($(is_clang),)
WARNINGS += -Wduplicated-cond -Wduplicated-branches -Wlogical-op \
    -Wimplicit-fallthrough=5
else
WARNINGS += -Wimplicit-fallthrough
endif

# gcc 10 forgets that initializers are designated once one is an atomic_load().
ifneq ($(filter 8 9 10,$(gcc_major)),)
WARNINGS += -Wno-missing-field-initializers
endif

ifeq ($(VARIANT),release)
# Without the assertions, which every other variant has.
HARDEN_CFLAGS  := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(fortify) \
                  -fstack-protector-strong -DNDEBUG
HARDEN_LDFLAGS := -Wl,-z,relro,-z,now
# The linker would put our texts among those of Python, a page fault for each.
ifeq ($(is_clang),)
TEXT_CFLAGS    := -fno-merge-constants
endif
endif

# The static libpython is not PIC, so nothing can be PIE then.
ifeq ($(PYTHON_MODE),shared)
PIE_CFLAGS  := -fPIE
PIE_LDFLAGS := -pie
link_static := 0
else
PIE_CFLAGS  := -fno-pie
PIE_LDFLAGS := -no-pie
link_static := 1
endif

# Hidden: the program exports Python's symbols to extension modules; ours must
# not stand in for functions of the same name in somebody's library.
PROG_CPPFLAGS := -Isrc -I$(BUILD) -D_GNU_SOURCE
PROG_CFLAGS = -std=gnu17 $(WARNINGS) $(CFLAGS_$(VARIANT)) $(HARDEN_CFLAGS) \
    $(PIE_CFLAGS) $(TEXT_CFLAGS) -fvisibility=hidden -pthread -MMD -MP $(EXTRA_CFLAGS)
PROG_LDFLAGS = $(filter -fsanitize% -fno-sanitize%,$(CFLAGS_$(VARIANT))) \
    $(HARDEN_LDFLAGS) -pthread

COMPILE = $(CC) $(PROG_CPPFLAGS) $(CPPFLAGS) $(PROG_CFLAGS) $(CFLAGS)

# --- building -----------------------------------------------------------------

all: $(PROGRAM) ## build the program (the default)

objects: $(OBJ) # everything compiled, nothing linked: for lint

$(PROGRAM): $(OBJ) $(BUILD)/settings
	@echo '  LINK    $@'
	$(Q)$(CC) $(PROG_LDFLAGS) $(PIE_LDFLAGS) $(LDFLAGS) -o $@ $(LINK_OBJ) \
	    $(PYTHON_STUB) $(FCGI_LIBS) $(PYTHON_LIBS) $(LDLIBS)

$(BUILD)/obj/%.o: src/%.c $(BUILD)/settings $(BUILD)/config.h
	@echo '  CC      $<'
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -c $< -o $@

$(foreach l,$(PYTHON_LAYERS),$(BUILD)/obj/$(l)/%.o): \
    PROG_CPPFLAGS += $(PYTHON_CFLAGS)
# The compiler must not turn one of its functions into a call of itself.
$(BUILD)/obj/mode/math_library.o: PROG_CFLAGS += -fno-builtin
ifeq ($(fcgi_mode),shared)
# libfcgi.so must find our OS_* functions in the program.
$(BUILD)/obj/transport/fcgi_os.o: PROG_CFLAGS += -fvisibility=default
endif

# Rewritten only when the words in it change; then everything is compiled anew.
$(BUILD)/settings: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(COMPILE) $(PYTHON_CFLAGS)' \
	    '$(PROG_LDFLAGS) $(LDFLAGS) $(FCGI_LIBS) $(PYTHON_LIBS) $(LDLIBS)' \
	    '$(PYTHON_STAMP)' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/config.h: $(BUILD)/python.mk Makefile
	@printf '%s\n' '/* Written by the Makefile. */' \
	    '#ifndef WSGI_CGI_CONFIG_H' '#define WSGI_CGI_CONFIG_H' \
	    '#define WSGI_CGI_VERSION "$(VERSION)"' \
	    '#define WSGI_CGI_PYTHON_EXE "$(PYTHON_EXE)"' \
	    '#define WSGI_CGI_LINK_STATIC $(link_static)' '#endif' >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Bytecode of that very Python.
$(BUILD)/frozen_encodings.h: tools/freeze-encodings $(BUILD)/settings
	$(Q)$(PYTHON_EXE) -I tools/freeze-encodings $@
$(BUILD)/obj/python/interp.o: $(BUILD)/frozen_encodings.h

$(BUILD)/page_css.h: src/text/page.css tools/page-css.sed $(BUILD)/settings
	@{ echo '/* Written by the Makefile. */' && \
	    echo 'static const char page_css[] =' && \
	    sed -f tools/page-css.sed src/text/page.css && echo '    ;'; } >$@
$(BUILD)/obj/text/html.o: $(BUILD)/page_css.h

FORCE:
.PHONY: FORCE all objects install uninstall clean dist help

install: $(PROGRAM) ## install below DESTDIR and PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/man/man7 \
	    $(DESTDIR)$(PREFIX)/share/doc/wsgi-cgi/examples
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/wsgi-cgi
	for page in $(wildcard man/*.1 man/*.7); do install -m 644 $$page \
	    $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/ || exit 1; done
	cp -R $(wildcard examples/*) \
	    $(DESTDIR)$(PREFIX)/share/doc/wsgi-cgi/examples/

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/wsgi-cgi
	for page in $(notdir $(wildcard man/*.1 man/*.7)); do \
	    rm -f $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page; done
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/wsgi-cgi

clean: ## remove this variant's build folder
	rm -rf $(BUILD)

dist: ## pack the committed tree as wsgi-cgi-VERSION.tar.gz
	@mkdir -p $(BUILD)
	git archive --format=tar.gz --prefix=wsgi-cgi-$(VERSION)/ \
	    -o $(BUILD)/wsgi-cgi-$(VERSION).tar.gz HEAD
	@echo $(BUILD)/wsgi-cgi-$(VERSION).tar.gz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' \
	    $(firstword $(MAKEFILE_LIST))

# --- tests --------------------------------------------------------------------

.PHONY: check unit check-unit compiled-tests check-gateway check-servers \
        check-asan check-tsan

export WSGI_CGI_VARIANT := $(VARIANT)
run_pytest = WSGI_CGI=$(abspath $(PROGRAM)) $(TEST_PYTHON) -m pytest \
    $(1) $(PYTEST_ARGS)

check: deps-test ## install what is missing, build, run all tests, light lint
	@$(SUBMAKE) $(JOBS) all unit compiled-tests
	@status=0; for suite in lint-light lint-calls check-unit check-gateway \
	    $(if $(wildcard tests/servers),check-servers) bench-smoke; do \
	    echo "== $$suite"; $(SUBMAKE) $$suite || status=1; \
	done; exit $$status

# The Python-free part as one archive: a test takes from it what it uses.
$(BUILD)/libcore.a: $(CORE_OBJ) Makefile
	@echo '  AR      $@'
	@rm -f $@
	$(Q)$(AR) rcs $@ $(CORE_OBJ)

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libcore.a $(BUILD)/settings
	@echo '  CC      $<'
	@mkdir -p $(@D)
	@# A test that is written but not on the list of its file never runs.
	$(Q)$(COMPILE) -Werror=unused-function -Itests/unit $< $(PROG_LDFLAGS) $(PIE_LDFLAGS) $(LDFLAGS) \
	    $(BUILD)/libcore.a $(FCGI_LIBS) -lcmocka -ldl -o $@

unit: $(UNIT)

check-unit: unit ## run the cmocka programs of tests/unit
	@# Of a program that passes only the closing lines, else everything.
	@status=0; for test in $(UNIT); do echo "  TEST    $$test"; \
	    if $$test >$$test.log 2>&1; then grep -E '^\[ +[PS]' $$test.log; \
	    else status=1; cat $$test.log; echo "FAILED: $$test" >&2; fi; \
	done; exit $$status

# Where pytest keeps them compiled: the tree is to have no bytecode.
export WSGI_CGI_TEST_CACHE := $(abspath $(BUILD))/pycache

# Or each worker of pytest would compile them. What is wrong with a test shows
# when it runs.
compiled-tests:
	-@$(TEST_PYTHON) -m pytest -qq -n 0 --collect-only tests/gateway >/dev/null 2>&1

check-gateway: $(PROGRAM) ## run tests/gateway: the program, no web server
	$(Q)$(call run_pytest,-n $(TEST_JOBS) tests/gateway)

check-servers: deps-test ## install web servers and run tests/servers behind them
	@$(SUBMAKE) $(JOBS) all
	@# All is installed: what is missing now is no reason to skip a test.
	$(Q)WSGI_CGI_TEST_ALL=1 $(call run_pytest,-n $(SERVER_JOBS) tests/servers)

# Beside the other variants, or inside a BUILD folder of one's own.
variant_build = $(if $(filter build/%,$(BUILD)),build,$(BUILD))/$(1)

# Settings from measurements: slow unwinding because libpython has no frame
# pointers; six frames of it, because all of them take four times as long; freed
# memory filled, so that one DECREF too many shows.
ASAN_SETTINGS := detect_leaks=1:fast_unwind_on_malloc=0:malloc_context_size=6
ASAN_SETTINGS := $(ASAN_SETTINGS):exitcode=99
ASAN_SETTINGS := $(ASAN_SETTINGS):max_free_fill_size=4096:free_fill_byte=219
check-asan: deps-test ## unit and gateway tests with ASan, LSan and UBSan
	@$(call sanitized,asan,ASAN_OPTIONS,$(ASAN_SETTINGS))

# No second of sleep at the end of each process: it would show no race between
# threads that meet, and make the run take twice as long.
TSAN_SETTINGS := exitcode=99:atexit_sleep_ms=0
# For a Python that is built with TSan: CPython's list of its own known races
# (Tools/tsan/suppressions_free_threading.txt), and ours of what that one lacks.
TSAN_SUPPRESSIONS ?=
ifneq ($(TSAN_SUPPRESSIONS),)
tsan_list := $(abspath $(call variant_build,tsan))/suppressions.txt
TSAN_SETTINGS := $(TSAN_SETTINGS):suppressions=$(tsan_list)
$(tsan_list): $(TSAN_SUPPRESSIONS) tools/tsan-suppressions.txt
	@mkdir -p $(@D)
	@cat $^ >$@
endif
check-tsan: deps-test $(tsan_list) ## unit and gateway tests with TSan
	@$(call sanitized,tsan,TSAN_OPTIONS,$(TSAN_SETTINGS))

# $(call sanitized,variant,name of the options variable,options). A report in a
# process that a test does not look at fails the run, too.
sanitized = reports=$(abspath $(call variant_build,$(1)))/reports; \
    rm -rf $$reports; mkdir -p $$reports; \
    $(2)=$(3):log_path=$$reports/$(1) \
    UBSAN_OPTIONS=print_stacktrace=1:log_path=$$reports/ubsan \
    LSAN_OPTIONS=suppressions=$(abspath tools/lsan-suppressions.txt):print_suppressions=0 \
    $(SUBMAKE) VARIANT=$(1) BUILD=$(call variant_build,$(1)) \
        check-unit check-gateway; \
    status=$$?; \
    for report in $$reports/*; do \
        [ ! -f "$$report" ] || { cat "$$report" >&2; status=1; }; \
    done; exit $$status

# --- benchmark ------------------------------------------------------------------

.PHONY: bench bench-smoke bench-compare bench-programs
BENCH_ARGS ?=
BENCH := tests/bench
run_bench = $(TEST_PYTHON) $(BENCH)/bench.py $(BENCH_ARGS)

bench: deps-bench ## compare with the alternatives: tables, goals, plots
	@$(SUBMAKE) $(JOBS) all bench-programs
	@$(run_bench) --save $(BENCH) --readme $(BENCH)/README.md \
	    $(abspath $(PROGRAM)) $(abspath $(BUILD)/bench)

bench-smoke: deps-bench ## does the benchmark run? under a minute
	@$(SUBMAKE) $(JOBS) all bench-programs
	@$(run_bench) --smoke $(abspath $(PROGRAM)) $(abspath $(BUILD)/bench)

bench-compare: deps-bench ## BASE=rev: this tree against that one
	@$(SUBMAKE) $(JOBS) all bench-programs
	@$(BENCH)/compare '$(BASE)' $(abspath $(PROGRAM)) $(abspath $(BUILD)/bench)

deps-bench:
	@tools/need build bench

BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,load stock floor embed cgi)
bench-programs: $(BENCH_PROGRAMS) $(addprefix $(BUILD)/bench/,cgi-static cgi-go)

# The flags that their manuals would have; the program's own warnings.
$(BENCH_PROGRAMS): $(BUILD)/bench/%: $(BENCH)/%.c $(BUILD)/settings
	@echo '  CC      $<'
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -D_GNU_SOURCE $(WARNINGS) $(bench_flags) $< -o $@ \
	    $(bench_libs)
$(BUILD)/bench/stock: bench_libs = -lfcgi
# With whatever way of libpython the program itself has.
$(BUILD)/bench/embed: bench_flags = $(PYTHON_CFLAGS) $(PIE_CFLAGS) $(PIE_LDFLAGS)
$(BUILD)/bench/embed: bench_libs = $(PYTHON_STUB) $(PYTHON_LIBS) $(LDLIBS)

$(BUILD)/bench/cgi-static: $(BENCH)/cgi.c $(BUILD)/settings
	@echo '  CC      $< (static)'
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -static $< -o $@

$(BUILD)/bench/cgi-go: $(BENCH)/cgi.go
	@echo '  GO      $<'
	@mkdir -p $(@D)
	$(Q)GOCACHE=$(abspath $(BUILD))/go-cache GOFLAGS= go build -o $@ $<

# --- lint ---------------------------------------------------------------------

.PHONY: lint lint-light lint-layers lint-banned lint-length lint-words \
        lint-man lint-calls lint-shell lint-selftest lint-cppcheck lint-tidy \
        lint-objects format format-check

lint-light: lint-layers lint-banned lint-length lint-words lint-selftest \
            lint-man

lint: deps-lint lint-light lint-shell ## all static checks; warnings are errors
	@$(SUBMAKE) $(JOBS) CC=gcc EXTRA_CFLAGS='-Werror' \
	    BUILD=$(call variant_build,lint-gcc) objects lint-calls
	@# Memory handed over to an array in a struct counts as leaked in gcc 12's
	@# analyzer; LeakSanitizer knows better.
	@$(SUBMAKE) $(JOBS) CC=gcc \
	    EXTRA_CFLAGS='-Werror -fanalyzer -Wno-analyzer-malloc-leak' \
	    BUILD=$(call variant_build,lint-analyzer) objects
	@$(SUBMAKE) $(JOBS) CC=clang EXTRA_CFLAGS=-Werror \
	    BUILD=$(call variant_build,lint-clang) objects
	@$(SUBMAKE) CC=clang BUILD=$(call variant_build,lint-clang) lint-tidy
	@$(SUBMAKE) lint-cppcheck

lint-layers lint-banned lint-length lint-words lint-selftest:
	$(Q)$(TEST_PYTHON) tools/$@

lint-calls: $(OBJ)
	$(Q)$(TEST_PYTHON) tools/$@ $(OBJ)

lint-man:
	$(Q)$(if $(wildcard man/*.1 man/*.7),\
	    mandoc -Tlint -W warning $(wildcard man/*.1 man/*.7))

lint-tidy: $(BUILD)/config.h $(BUILD)/page_css.h
	@printf '%s\n' $(SRC) | xargs -P$(JOBS:-j%=%) -I{} \
	    clang-tidy --quiet --warnings-as-errors='*' {} -- \
	    $(filter-out -MMD -MP,$(COMPILE:$(CC)%=%)) $(PYTHON_CFLAGS)

lint-cppcheck:
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -Isrc \
	    --suppressions-list=tools/cppcheck-suppressions.txt --library=posix,gnu,python \
	    --enable=warning,style,performance,portability $(SRC)

lint-shell:
	$(Q)shellcheck -s sh tools/need tools/demo tools/python-probe $(BENCH)/compare
	$(Q)shellcheck .ci/run

# --- packages, demo, format -----------------------------------------------------

.PHONY: deps deps-test deps-lint demo

deps: ## install the packages that building and the demo need
	@tools/need build demo

deps-test: ## install the packages that the tests need
	@tools/need build test

deps-lint:
	@tools/need build lint test

demo: deps ## build, serve examples/hello.py through lighttpd until Ctrl-C
	@$(SUBMAKE) $(JOBS) all
	@tools/demo $(abspath $(PROGRAM)) $(abspath examples/hello.py)

format: ## lay out the C sources with clang-format
	clang-format -i $(wildcard src/*.[ch] src/*/*.[ch] tests/unit/*.[ch] tests/bench/*.c tools/*.[ch])

format-check:
	clang-format --dry-run -Werror \
	    $(wildcard src/*.[ch] src/*/*.[ch] tests/unit/*.[ch] tests/bench/*.c tools/*.[ch])

-include $(OBJ:.o=.d) $(UNIT:=.d)

# One command for each thing a person wants. Everything is installed into .venv of this checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: dist deb installs site site-check recorder lab-bind lab-boot lab-module lab-guards demo test lint types floors unit tools bench fuzz soak random docs lab lab-tools lab-advise lock clean help free-threaded

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("numaprobe needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)  ## set up, then compare every policy on the measured machine and on this one
	$(BIN)/numaprobe compare nvme-epyc
	$(BIN)/numaprobe compare host

test: $(STAMP) lint types floors unit  ## set up, lint, types, floors, tests

lint: $(STAMP)
	$(BIN)/ruff check src tests bench docs recorder release
	$(BIN)/ruff format --check src tests bench docs recorder release

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports --no-cache

unit: $(STAMP) tools
	$(BIN)/pytest -q -n auto

tools: $(STAMP)  ## what the tests use from apt, as root: Chromium, QEMU, a kernel; a warning where it cannot be had
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null || \
	  { echo "WARNING: not root, or no apt: nothing is installed for the browser and guest tests" >&2; exit 0; }; \
	command -v trace-cmd >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends trace-cmd >/dev/null; } || \
	  echo "WARNING: no trace-cmd: a trace.dat is read by a program that stands for it" >&2; \
	for p in mandoc fish zsh; do command -v $$p >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends $$p >/dev/null; } || \
	  echo "WARNING: no $$p: manual pages or completion are NOT tested with it" >&2; done; \
	command -v chromium >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || \
	  echo "WARNING: no Chromium: the HTML report is NOT tested in a browser" >&2; \
	{ $(MAKE) --no-print-directory lab-tools >/dev/null && $(BIN)/numaprobe lab --fetch $(TEST_KERNEL) >/dev/null; } || \
	  echo "WARNING: no QEMU or kernel: recording is NOT tested in a guest" >&2

# CPU seconds of all readers together; FUZZ_SEED, FUZZ_READERS, FUZZ_FOLDER: see bench/fuzz/__main__.py.
FUZZ_SECONDS ?= 600

fuzz: $(STAMP)  ## fuzz every reader (FUZZ_SECONDS of CPU), then give each what costs most; exit 1 if anything is found
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) nice $(BIN)/python -m bench.fuzz

MUTANTS ?= 300

mutants: $(STAMP)  ## change lines of the core and the scheduler, MUTANTS of them: do the tests notice? An hour or two
	$(BIN)/python -c 'import mutmut' 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python --group mutants
	nice $(BIN)/python -m bench.mutants --sample $(MUTANTS)

bench: $(STAMP)  ## side-by-side figures: medians of several runs
	$(BIN)/python -m bench

SOAK_SECONDS ?= 600
SOAK_SEED ?= 1
soak: $(STAMP)  ## probe on this machine for SOAK_SECONDS, faults of every kind among them: nothing lost, nothing grows
	$(BIN)/python -m bench.soak_host $(SOAK_SECONDS) $(SOAK_SEED)

# Scenarios drawn from a grammar, each under every policy: how many, from which number on, for how long at most.
RANDOM_COUNT ?= 1000
RANDOM_FIRST ?= 0
RANDOM_SECONDS ?= 900

random: $(STAMP)  ## random scenarios under every policy: nothing lost, the same outcome, the same bytes
	$(BIN)/python -m bench.random_scenarios --count $(RANDOM_COUNT) --first $(RANDOM_FIRST) --seconds $(RANDOM_SECONDS)

# Debian's kernels that the lab boots, and the scenarios that it compares with their prediction.
TEST_KERNEL ?= 6.1
LAB_KERNELS ?= 6.1 6.12
LAB_SCENARIOS ?= lab-nvme lab-nvme-async lab-bind lab-virtio
LAB_ROUNDS ?= 8
# Machines on which every policy is observed in Python and compared with its prediction.
LAB_MACHINES ?= --guest '2 nodes x 2 cores, 1GiB per node' --guest '4 nodes x 1 core, 512MiB per node'
LAB_PACKAGES := qemu-system-x86 busybox-static kmod
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

lab-tools: $(STAMP)
	@for p in qemu-system-x86_64 busybox depmod; do PATH=$$PATH:/usr/sbin:/sbin command -v $$p >/dev/null || need=1; done; \
	if [ -n "$$need" ]; then $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $(LAB_PACKAGES); fi

BUILD_PACKAGES := coccinelle build-essential git flex bison bc cpio libelf-dev libssl-dev dwarves ccache

lab-build: lab-tools  ## what building kernels needs (numaprobe review, lab --kernel TREE@REV), with apt
	@for p in gcc make git flex bison bc cpio pahole spatch; do command -v $$p >/dev/null || need=1; done; \
	for f in libelf.h openssl/ssl.h; do echo "#include <$$f>" | $(or $(CC),cc) -E - >/dev/null 2>&1 || need=1; done; \
	if [ -n "$$need" ]; then $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $(BUILD_PACKAGES); fi

# A kernel's source tree, and what stands in patches/: each policy as a real kernel, reviewed against the tree as it is.
LINUX ?=
REVIEW_PATCHES ?= $(wildcard patches/*.cocci)

review: lab-build  ## every policy of patches/ built into LINUX=TREE and booted beside it: does each do what its policy says?
	@test -n "$(LINUX)" || { echo "name a kernel's source tree: make review LINUX=~/linux" >&2; exit 2; }
	@failed=; for p in $(REVIEW_PATCHES); do name=$$(basename $$p .cocci); echo "== $$name"; \
	$(BIN)/numaprobe review --tree $(LINUX) --patch $$p --policy $$name --folder build/reviews/$$name -o build/reviews/$$name.txt; \
	grep -h "^As $$name" build/reviews/$$name.txt || failed="$$failed $$name"; done; \
	if [ -n "$$failed" ]; then echo "no answer for:$$failed" >&2; exit 1; fi

lab: lab-tools  ## boot Debian kernels in QEMU (fetched with apt), record there, compare with the prediction
	@failed=; for k in $(LAB_KERNELS); do $(BIN)/numaprobe lab --fetch $$k || exit; \
	for s in $(LAB_SCENARIOS); do echo "== $$k $$s"; $(BIN)/numaprobe lab $$s --kernel $$k --check || failed="$$failed $$k/$$s"; done; done; \
	echo "== $$k lab-bind, overhead"; $(BIN)/numaprobe lab lab-bind --kernel $$k --overhead $(LAB_ROUNDS) || failed="$$failed $$k/overhead"; \
	echo "== placement"; $(BIN)/numaprobe placement $(LAB_MACHINES) || failed="$$failed placement"; \
	if [ -n "$$failed" ]; then echo "the lab failed for:$$failed"; exit 1; fi

# Built-in scenarios in real kernels, with devices and drivers of the lab's own module: see docs/lab-module.md.
MODULE_KERNELS ?= 6.12 6.1 7.3

lab-module: lab-build  ## built-in scenarios in real kernels, with devices and drivers of our own, as a table
	@mkdir -p build/lab-module; failed=; for k in $(MODULE_KERNELS); do $(BIN)/numaprobe lab --fetch $$k || exit; \
	LAB_FOLDER=build/lab-module $(BIN)/python -m bench.lab_module $$k || failed="$$failed $$k"; done; \
	LAB_FOLDER=build/lab-module $(BIN)/python -m bench.lab_module --table; \
	if [ -n "$$failed" ]; then echo "differs, unexplained, on:$$failed"; exit 1; fi

# Binding in guests: kernel, and how often each of its modes is repeated.
BIND_KERNEL ?= 6.12
BIND_COUNT ?= 3

lab-bind: lab-tools  ## bind, kill, cut and pull at devices on a real kernel in QEMU; the table of docs/bind.md
	$(BIN)/numaprobe lab --fetch $(BIND_KERNEL) && $(BIN)/python -m bench.bind_guest --kernel $(BIND_KERNEL) --count $(BIND_COUNT)

lab-boot: lab-tools  ## a Debian boots with an installed plan, good and broken, in QEMU (as root, with debootstrap)
	$(BIN)/numaprobe lab --fetch 7.3 && $(BIN)/python -m bench.boot_guest

# Boots of each side, before and after what is advised is set.
ADVICE_BOOTS ?= 5
lab-advise: lab-tools  ## advice taken at its word in guests: recorded, advised, set, recorded again
	$(BIN)/numaprobe lab --fetch 6.1
	$(BIN)/numaprobe lab --fetch 6.12
	$(BIN)/python -m bench.guest_advice $(ADVICE_BOOTS)

# The guard in guests: kernels, and the programs that bring the situations about, unpacked here and installed nowhere.
GUARD_KERNELS ?= 6.12
GUARD_PACKAGES := mdadm lvm2 cryptsetup-bin btrfs-progs bcache-tools fdisk libfdisk1 libaio1 libcryptsetup12 liblzo2-2 \
  libdevmapper-event1.02.1 libargon2-1 libreadline8 libedit2 libpopt0
GUARD_TOOLS := $(CURDIR)/build/guard-tools

$(GUARD_TOOLS)/.unpacked:
	mkdir -p $(GUARD_TOOLS)/packages
	cd $(GUARD_TOOLS)/packages && apt-get download -q $(GUARD_PACKAGES)
	for package in $(GUARD_TOOLS)/packages/*.deb; do dpkg-deb -x $$package $(GUARD_TOOLS) || exit; done
	touch $@

lab-guards: lab-tools $(GUARD_TOOLS)/.unpacked  ## devices in use, with the real thing, in QEMU: refused, and nothing written
	for k in $(GUARD_KERNELS); do $(BIN)/numaprobe lab --fetch $$k || exit; done
	GUARD_TOOLS=$(GUARD_TOOLS) $(BIN)/python -m bench.guard_guest $(GUARD_KERNELS)

# A Python without an interpreter lock: nobody ships one built, so Debian's source is built here. apt checks the source; its
# lists and settings are of this folder, and those of the computer stay as they are.
FREE := $(CURDIR)/build/free-threaded
FREE_SUITE ?= trixie
FREE_SOURCE ?= python3.13
FREE_NEEDS := build-essential libbz2-dev libffi-dev liblzma-dev libsqlite3-dev libssl-dev zlib1g-dev xz-utils
FREE_APT := apt-get -q -o Dir::Etc::SourceList=$(FREE)/apt/sources -o Dir::Etc::SourceParts=/dev/null \
  -o Dir::State::Lists=$(FREE)/apt/lists -o Dir::Cache=$(FREE)/apt/cache
FREE_KEYS := /usr/share/keyrings/debian-archive-keyring.gpg
# Those of our packages that have a wheel for it, or need none; DuckDB and vl-convert have none.
FREE_PACKAGES := altair defusedxml editables hatchling hypothesis jsonschema perfetto pydantic pytest pytest-xdist rich simpy typer
FREE_TESTS ?= tests/host tests/contract tests/drivercore

$(FREE)/bin/python3:
	@for p in $(FREE_NEEDS); do dpkg -s $$p >/dev/null 2>&1 || need=1; done; \
	if [ -n "$$need" ]; then $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q --no-install-recommends $(FREE_NEEDS); fi
	rm -rf $(FREE) && mkdir -p $(FREE)/apt/lists/partial $(FREE)/apt/cache/archives/partial $(FREE)/source
	site=$$(apt-get indextargets --format '$$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -n 1); \
	test -n "$$site" || { echo "apt knows no Debian archive to fetch $(FREE_SOURCE) from" >&2; exit 1; }; \
	echo "deb-src [signed-by=$(FREE_KEYS)] $$site $(FREE_SUITE) main" > $(FREE)/apt/sources
	$(FREE_APT) update
	cd $(FREE)/source && $(FREE_APT) source --download-only $(FREE_SOURCE) && tar --strip-components 1 -xf *.orig.tar.xz
	cd $(FREE)/source && nice ./configure -q --disable-gil --prefix=$(FREE) && nice $(MAKE) -s -j2 && $(MAKE) -s install
	rm -rf $(FREE)/source

$(FREE)/venv/.installed: pyproject.toml | $(FREE)/bin/python3
	$(FREE)/bin/python3 -m venv $(FREE)/venv
	$(FREE)/venv/bin/python -m pip install --quiet --only-binary :all: $(FREE_PACKAGES)
	$(FREE)/venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

free-threaded: $(FREE)/venv/.installed  ## build a Python without interpreter lock, and test the host machine on it
	$(FREE)/venv/bin/python -c 'import sys; sys.exit(sys._is_gil_enabled() and "this Python has an interpreter lock")'
	PYTHON_GIL=0 nice $(FREE)/venv/bin/python -m pytest -q -p no:cacheprovider $(FREE_TESTS)

recorder: $(STAMP)  ## dist/numaprobe-record: one file that records and binds wherever there is a Python 3.11
	$(BIN)/python recorder/build.py dist/numaprobe-record

SITE := build/site

site: $(STAMP)  ## the documentation as a site, in build/site: tutorials, guides, reference, search; needs no network
	$(BIN)/python -m docs.web $(SITE)

site-check: $(STAMP) tools  ## the site's links, and each of its pages in a browser, 400 px wide
	$(BIN)/pytest -q tests/web

dist: $(STAMP)  ## dist/: sdist and wheel, the same bytes whenever they are built from one commit, checked by twine
	$(BIN)/python -c 'import twine' 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python --group dist
	$(BIN)/python -m release dist dist

deb: $(STAMP)  ## dist/: the Debian package, for Debian 13 and later; looked at by lintian where there is one
	$(BIN)/python -m release deb dist
	if command -v lintian >/dev/null; then lintian --tag-display-limit 0 --fail-on error,warning,info dist/*.deb; fi

installs: dist deb  ## wheel and package installed as a newcomer would: pip, pipx, uv, each Python; apt in a clean Debian (root)
	$(BIN)/python -m release installs dist

docs: $(STAMP)  ## rebuild the tables in docs/ from runs, and check every example in them
	$(BIN)/python -m docs.build

lock: ## resolve the dependencies again into requirements.lock, for every Python that we run on, with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --all-extras --group dev --group site pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

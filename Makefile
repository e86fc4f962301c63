# Hallmark: what people type. `make` alone shows the list.
#
# demo and test build with one profile, so that dependencies are compiled once: `dev`, in which dependencies are
# optimised and our own code half. HALLMARK_PROFILE=release builds everything for speed instead.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

HALLMARK_PROFILE ?= dev
profile_dir := $(if $(filter dev,$(HALLMARK_PROFILE)),debug,$(HALLMARK_PROFILE))
export HALLMARK_BIN_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target)/$(profile_dir))
release_dir := $(abspath $(or $(CARGO_TARGET_DIR),target)/release)
export HALLMARK_CACHE ?= $(shell . scripts/lib.sh; cache_dir)
cargo_build := --locked --workspace --profile $(HALLMARK_PROFILE)

# Source packages for the tests, and what a plain build makes of them: see test-packages.
export HALLMARK_TEST_SOURCES := $(abspath $(or $(CARGO_TARGET_DIR),target)/test-sources)
export HALLMARK_TEST_RPMS := $(abspath $(or $(CARGO_TARGET_DIR),target)/test-rpms)
known_contents := $(abspath $(or $(CARGO_TARGET_DIR),target)/known-contents)

.PHONY: help demo test test-full test-openssl test-siguldry test-zchunk test-systemd lint audit bench bench-log bench-verify bench-mirror bench-metalink bench-sbom bench-questions bench-web bench-rebuild docs fmt deps build build-release client-root test-packages clean clean-cache

help: ## this list
	@echo 'Hallmark: signed RPM repositories of packages that others have rebuilt.'
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1|/' | awk -F '|' '{ printf "%-22s %s\n", $$1, $$2 }'

demo: ## the main job on this machine, nothing to configure; keeps serving until Ctrl-C (EXIT=1: stop when done)
	@scripts/timed.sh 'system packages' scripts/install-deps.sh demo
	@$(MAKE) build
	@EXIT='$(EXIT)' scripts/demo.sh

test: ## everything that is checked on each change
	@scripts/timed.sh 'system packages' scripts/install-deps.sh test
	@$(MAKE) client-root
	@$(MAKE) test-packages
	@$(MAKE) build
	@scripts/timed.sh 'tests' scripts/run-tests.sh $(cargo_build)

test-full: export HALLMARK_TEST_FULL := 1
test-full: export HALLMARK_FUZZ_SECS := 60
test-full: test test-siguldry test-zchunk ## `test` and all that is too slow for each change

# Not part of `test`: the first run compiles for minutes. Exit 3: cannot be done here; it has said why.
test-openssl: client-root ## the signer built with OpenSSL 3.5 or later, and its tests, in the client root (as root)
	@scripts/timed.sh 'signer with OpenSSL' tests/lab/signer-openssl.sh test || [ $$? = 3 ]

# Not part of `test`: the first run compiles another project for minutes. Exit 3: as above.
test-siguldry: client-root ## keys in siguldry, signed with through its PKCS #11 module; builds siguldry first
	@code=0; scripts/timed.sh 'siguldry' tests/lab/make-siguldry.sh >/dev/null || code=$$?; \
	  case $$code in \
	    0) scripts/timed.sh 'keys in siguldry' cargo test $(cargo_build) --test siguldry -- --ignored --show-output ;; \
	    3) ;; *) exit $$code ;; esac

# Not part of `test`: the first run fetches compilers and builds two libraries. Exit 3: as above.
test-zchunk: client-root build ## dnf5 with zchunk, which Debian's lacks: builds its libraries first, then counts the bytes it fetches
	@code=0; scripts/timed.sh 'dnf5 with zchunk' tests/lab/make-zchunk-dnf.sh >/dev/null || code=$$?; \
	  case $$code in \
	    0) scripts/timed.sh 'chunks that dnf5 fetches' cargo test $(cargo_build) --test mirror -- --ignored --show-output chunks ;; \
	    3) ;; *) exit $$code ;; esac

# Not part of `test`: process 1 of its own takes more rights than a container has. Exit 3: as above.
test-systemd: build test-packages ## the shipped signer unit under a real systemd, and what its sandbox refuses (as root)
	@scripts/timed.sh 'signer under systemd' tests/lab/signer-systemd.sh || [ $$? = 3 ]

lint: ## formatting, clippy, licences and sources of dependencies, shell scripts
	@scripts/timed.sh 'formatting' cargo fmt --all --check
	@scripts/timed.sh 'clippy' cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then scripts/timed.sh 'shellcheck' shellcheck -x -S warning scripts/*.sh tests/lab/*.sh .ci/run; \
	  else echo 'lint: shellcheck skipped: not installed (package shellcheck)' >&2; fi
	@if command -v cargo-deny >/dev/null; then scripts/timed.sh 'cargo deny' cargo deny --offline check bans licenses sources; \
	  else echo 'lint: cargo deny skipped: not installed (cargo install --locked cargo-deny)' >&2; fi

audit: ## known vulnerabilities in dependencies (needs cargo-deny and the network)
	@cargo deny check advisories

bench: ## speed, side by side with the peers (HALLMARK_BENCH_FULL=1: 60,000 packages too)
	@scripts/timed.sh 'system packages' scripts/install-deps.sh bench
	@$(MAKE) client-root
	@cargo bench --locked --workspace --no-fail-fast
	@$(MAKE) bench-log
	@$(MAKE) bench-verify
	@$(MAKE) bench-sbom
	@$(MAKE) bench-questions
	@$(MAKE) bench-web
	@$(MAKE) bench-rebuild

bench-log: ## entries a second and proofs of the log (HALLMARK_BENCH_LOG=10000000: so many entries)
	@cargo test --quiet --locked --release -p repo-server --lib -- --ignored --nocapture measure_the_log

bench-verify: HALLMARK_BIN_DIR := $(release_dir)
bench-verify: build-release ## verifying a transaction of 200 packages, a repository of 2,000 and a machine that has them installed, beside sha256sum
	@HALLMARK_BENCH_VERIFY=20 HALLMARK_BENCH_VERIFY_KIB=200 cargo test --quiet --locked --workspace --test installing -- --nocapture --test-threads=1 two_hundred_packages a_whole_repository_and_an_installed

bench-web: ## how long each kind of page takes over HTTP with 20,000 packages
	@cargo test --quiet --locked --release -p repo-server --lib -- --ignored --nocapture pages_answer

bench-mirror: HALLMARK_BIN_DIR := $(release_dir)
bench-mirror: build-release ## copying 5,000 packages beside dnf5 and dnf, and memory for 60,000 with all proofs (HALLMARK_BENCH_FULL=1: 60,000 beside them, too)
	@scripts/timed.sh 'system packages' scripts/install-deps.sh bench
	@cargo bench --locked --workspace --bench mirror -- 5000 $(if $(HALLMARK_BENCH_FULL),60000)
	@cargo test --quiet --locked --release -p mirrors --lib -- --ignored --nocapture a_copy_with_all_proofs_takes_less

# HALLMARK_BENCH_MIRRORBITS: a file of a mirrorbits that runs already, to be measured beside ours; HALLMARK_BENCH_GEOIP: the
# folder of the GeoLite2 City and ASN files that both look clients up in; HALLMARK_BENCH_MIRRORS: how many mirrors ours has.
bench-metalink: HALLMARK_BIN_DIR := $(release_dir)
bench-metalink: build-release ## metalinks a second beside nginx with a file (HALLMARK_BENCH_MIRRORBITS=http://…/file: and mirrorbits)
	@cargo bench --locked --workspace --bench metalink -- $(HALLMARK_BENCH_MIRRORS)

bench-sbom: HALLMARK_BIN_DIR := $(release_dir)
bench-sbom: build-release ## what SBOM tools find in a package with known contents, and what that costs
	@scripts/timed.sh 'system packages' scripts/install-deps.sh bench
	@tests/lab/make-venv.sh bench >/dev/null || echo 'bench: no syft and no scancode; they are not compared with' >&2
	@tests/lab/make-node.sh bench >/dev/null || echo 'bench: no cdxgen and no trivy; they are not compared with' >&2
	@cargo build --quiet --locked --workspace --release --example known_contents
	@$(HALLMARK_BIN_DIR)/examples/known_contents $(known_contents)
	@tests/lab/sbom-bench.py $(HALLMARK_BIN_DIR)/hallmark $(known_contents)/fixture.rpm $(known_contents)/fixture.purls $(known_contents)/nested.rpm $(wildcard $(HALLMARK_TEST_RPMS)/*.rpm)

bench-questions: ## median, 99th percentile and longest of every question about SBOMs, over 20,000 packages
	@cargo test --quiet --locked --release -p repo-server --lib -- --ignored --nocapture questions_are_answered_in_time

bench-rebuild: HALLMARK_BIN_DIR := $(release_dir)
bench-rebuild: build-release ## what recording a build in the sandbox adds to plain rpmbuild
	@tests/lab/bench-rebuild.py $(HALLMARK_BIN_DIR)/hallmark

docs: ## the book into target/book (needs mdbook) and the API reference into target/doc
	@cargo doc --locked --workspace --no-deps
	@if command -v mdbook >/dev/null; then mdbook build docs --dest-dir ../target/book; \
	  else echo 'docs: the book is skipped: mdbook is not installed (cargo install --locked mdbook)' >&2; fi

fmt: ## format the Rust code
	@cargo fmt --all

deps: ## the system packages for demo and test
	@scripts/install-deps.sh test

build-release: ## the three programs, to be installed (docs/src/install.md)
	@$(MAKE) HALLMARK_PROFILE=release build

build:
	@command -v cargo >/dev/null || { echo 'error: Rust is not installed' >&2; echo 'hint: https://rustup.rs installs it' >&2; exit 1; }
	@scripts/timed.sh 'build' cargo build $(cargo_build) --bins

# Exit 3 of make-forky.sh: cannot be made here; it has said why, and the tests skip by name.
client-root:
	@scripts/timed.sh 'client root' scripts/make-forky.sh >/dev/null || [ $$? = 3 ]
	@scripts/timed.sh 'python checkers' tests/lab/make-venv.sh >/dev/null || echo 'test: no Python checkers; the tests that need them are skipped' >&2
	@scripts/timed.sh 'createrepo_c of PyPI' tests/lab/make-venv.sh createrepo >/dev/null || echo 'test: no createrepo_c of PyPI; the tests that need it are skipped' >&2
	@scripts/timed.sh 'S3 server' tests/lab/make-venv.sh s3 >/dev/null || echo 'test: no S3 server; the tests that need it are skipped' >&2
	@scripts/timed.sh 'browser driver' tests/lab/make-browser.sh >/dev/null || echo 'test: nothing drives a browser; the tests that need one are skipped' >&2
	@scripts/timed.sh 'node checkers' tests/lab/make-node.sh >/dev/null || echo 'test: no Node checkers; the tests that need them are skipped' >&2

# Fails when a package that should be reproducible is not, or the one that must not be is.
test-packages:
	@rm -rf '$(HALLMARK_TEST_RPMS)'
	@scripts/timed.sh 'test sources' scripts/fetch-sources.sh '$(HALLMARK_TEST_SOURCES)'
	@scripts/timed.sh 'test packages, each built twice' tests/lab/build-twice.sh '$(HALLMARK_TEST_SOURCES)' '$(HALLMARK_TEST_RPMS)'

clean: ## remove what was built
	@cargo clean

clean-cache: ## remove the client root, fetched sources and checkers from the cache folder
	@rm -rf --one-file-system '$(HALLMARK_CACHE)'/{forky,forky.*,zchunk-dnf,zchunk-dnf.*,openssl-target,sources,venv,venv-*,node,node-bench}

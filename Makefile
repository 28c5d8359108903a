# The commands of README. Each installs what it needs (Debian packages, as root or with sudo) or
# says what is missing, and then does its work.

SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin:$(HOME)/.cargo/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Namespaces need root. Cargo itself does not, so only what it builds is run with sudo.
ifneq ($(shell id -u),0)
ROOT := sudo -E
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export CARGO_TARGET_$(HOST)_RUNNER := sudo -E
endif

.PHONY: help run test check
.DEFAULT_GOAL := help

help:
	@echo 'make run    the reference cluster on this machine; ends with Ctrl-C (ADMIN=, SITE=, STATE=)'
	@echo 'make test   the whole test suite'
	@echo 'make check  format, lints, crate arrows and licences'

run:
	@.ci/need-rust
	@.ci/need ip:iproute2 cc:build-essential
	@cargo build --release --locked -p bramble -p lab
	@$(ROOT) $(TARGET)/release/lab up

# Unit tests in parallel; whatever measures time or builds networks one after the other.
test:
	@.ci/need-rust
	@.ci/need ip:iproute2 ping:iputils-ping cc:build-essential keepalived:keepalived \
		rsync:rsync python3:python3 chromium:chromium chromedriver:chromium-driver
	cargo test --workspace --locked --no-run
	cargo test --workspace --locked --no-fail-fast --lib --bins
	cargo test --workspace --locked --no-fail-fast --test '*' -- --test-threads=1

check:
	@.ci/need-rust
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked --test arrows
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	else echo 'check: cargo-deny is not installed, licences and advisories were not looked at' >&2; fi
